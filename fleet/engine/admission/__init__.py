"""Whether an attempt may start: slots, ownership, what is uncommitted, suspects of a crash."""
