"""Resources of steps: they are made for a worker or for an attempt, and closed with it."""
