"""The parts of stage `diagnose`: what is drawn, and what follows from it."""
