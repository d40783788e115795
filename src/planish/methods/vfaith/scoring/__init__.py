"""Stage score: metrics, intervals and the report."""
