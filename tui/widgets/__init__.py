"""The project's own widgets."""
