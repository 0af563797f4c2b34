"""Amazon EC2 and everything that speaks its API."""
