"""What became of runs, read from their log; and cancelling them."""
