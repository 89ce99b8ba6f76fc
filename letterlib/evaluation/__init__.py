"""Rankings, metrics and their intervals."""
