"""What goes wrong on a bad day, tried on the real program: `make faults` writes docs/reliability.md from it."""
