"""Faust's own agents and tables, beside the workflows of an app."""
