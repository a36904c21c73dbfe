"""The package that fleet init writes."""
