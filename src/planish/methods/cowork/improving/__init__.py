"""Between episodes: what went wrong, which edit may mend it, and whether it does."""
