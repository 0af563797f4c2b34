"""A monkey test: random keys, bursts, mouse, resizes and faults, and a judge of their effects."""
