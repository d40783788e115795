"""How large the gap between solving and judging is: the parts of stages gap and baselines."""
