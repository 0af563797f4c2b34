"""The dashboard and the command line: the two front ends of the backend."""
