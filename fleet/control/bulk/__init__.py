"""Many runs from a file."""
