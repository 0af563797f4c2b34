"""The providers: their protocol, their registry, and one package for each."""
