"""Shows runs, read from their log, and cancels them."""
