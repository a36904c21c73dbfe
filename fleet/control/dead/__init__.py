"""Dead letters, and resuming their runs."""
