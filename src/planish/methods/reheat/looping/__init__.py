"""The parts of stage `loop`: reinforcement learning that is reheated where it collapses."""
