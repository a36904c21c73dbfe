"""What operators do, without a command line: read the log, plan, and send."""
