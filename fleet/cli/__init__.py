"""The fleet command: one file for each noun."""
