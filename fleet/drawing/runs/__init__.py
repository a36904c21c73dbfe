"""What a run adds to the drawing of its workflow: where it went, and what failed."""
