"""The parts of fleet demo."""
