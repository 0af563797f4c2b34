"""Measures the targets: `make bench`."""
