"""The dashboard and the command line: the faces of the backend."""
