"""What commands have in common: options, output, questions, times."""
