"""The provider for Amazon EC2 and compatible clouds."""
