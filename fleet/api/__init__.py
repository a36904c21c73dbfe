"""Puts the rooms together: workflows, workers, and workflows on an app of your own."""
