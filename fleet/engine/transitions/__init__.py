"""What a record changes: pure decisions about runs, their results and their ends."""
