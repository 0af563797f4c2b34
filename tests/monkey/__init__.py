"""A monkey at the keyboard: random keys, bursts, mouse, resizes and faults, and a judge of what they did."""
