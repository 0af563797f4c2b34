"""The clouds: the protocol, the registry, and one package for each provider."""
