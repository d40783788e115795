"""Stage run: what a model says to every arm of a bench."""
