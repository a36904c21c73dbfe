"""Steps that fail: their exceptions as data, and the steps that handle them."""
