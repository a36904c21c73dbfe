"""Calls of workflows: what the end of a run means, and runs inside of steps."""
