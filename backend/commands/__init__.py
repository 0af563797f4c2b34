"""The commands: one table, one grammar, one way to run them."""
