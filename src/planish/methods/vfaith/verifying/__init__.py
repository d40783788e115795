"""The gates that every pair must pass, and stage verify."""
