"""How a task comes to its state and its logs, and whether they are those that it knows."""
