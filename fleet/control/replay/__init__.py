"""New runs from events in the log."""
