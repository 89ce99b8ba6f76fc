"""What was recommended, and how well: rankings, metrics, intervals."""
