"""Faults, tried on the real program: `make faults` writes docs/reliability.md from them."""
