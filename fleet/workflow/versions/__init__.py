"""What a workflow says about the versions of it before."""
