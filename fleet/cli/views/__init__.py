"""What commands print: rows, objects, bars."""
