"""Waits for events: what asks, what waits, and the answers that come."""
