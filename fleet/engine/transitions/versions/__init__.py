"""What another version of a workflow has written: for steps that are gone, or renamed."""
