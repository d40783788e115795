"""The stages: verify recorded code, generate code, diagnose failures, find reasons for them."""
