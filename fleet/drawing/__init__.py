"""Draws the graph of a workflow: a page, or Mermaid text."""
