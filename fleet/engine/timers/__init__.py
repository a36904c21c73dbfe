"""What happens at its time: deadlines of runs, and suspended work that is due."""
