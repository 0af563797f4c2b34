"""The journal: what was done to the clouds, by whom, and how it ended."""
