"""What vectors, identifiers and recommendations are like: measures, and no training."""
