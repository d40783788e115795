"""Stage build: benches of drawn scenes and of photographs."""
