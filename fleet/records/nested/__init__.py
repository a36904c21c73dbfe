"""Nested workflows: a run that a step of another run has started and awaits."""
