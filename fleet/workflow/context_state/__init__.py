"""A run's values: as keys of its group's state, and as the objects that steps see."""
