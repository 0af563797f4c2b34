"""What Cloudmesh does, without a screen: clouds, cache, commands."""

__version__ = "0.1.0"
