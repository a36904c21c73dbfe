"""What a caller of a workflow reads and watches on the broker."""
