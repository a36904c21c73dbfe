"""What a run shows, for its readers: from the log, each event once and in order."""
