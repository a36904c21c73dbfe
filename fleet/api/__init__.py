"""Puts the rooms together: runs in memory, workers, and workflows on an app of your own."""
