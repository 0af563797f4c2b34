"""The rooms: one module, or package, for each kind of resource, with all that only this kind has."""
