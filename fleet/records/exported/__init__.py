"""A run as one document: what an export writes, and a replay and a drawing read."""
