"""The cache: a store connection, and five faces that read and write it."""

from collections.abc import Collection

from backend.cache.flights import Flights
from backend.cache.journal import Journal
from backend.cache.preparing import prepare
from backend.cache.prices import Prices
from backend.cache.refreshes import Refreshes
from backend.cache.rows import Rows
from backend.cache.store import Mode, Store
from backend.errors import CacheError
from backend.kinds.model import Kind


class Cache:
    """One cache database. Threads may share it; reads and writes may block and may raise CacheError."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.flights = Flights(store)
        self.rows = Rows(store, self.flights)
        self.refreshes = Refreshes(store)
        self.journal = Journal(store)
        self.prices = Prices(store)
        self.listen, self.unlisten = store.listen, store.unlisten
        self.revive, self.close = store.revive, store.close

    @property
    def mode(self) -> Mode:
        """The kind of server that holds the cache."""
        return self.store.mode

    @property
    def address(self) -> str:
        """The address of the server, without credentials."""
        return self.store.address

    @property
    def note(self) -> str:
        """A sentence for the user when the cache is not the one that the configuration asks for."""
        return self.store.note

    @property
    def refusal(self) -> CacheError | None:
        """Why the cache cannot be written to; None if it can."""
        return self.store.refusal

    def prepare(self, kinds: Collection[Kind]) -> None:
        """Create the missing collections of these kinds; see backend.cache.preparing."""
        prepare(self.store, kinds)
