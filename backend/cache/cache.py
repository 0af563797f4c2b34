"""The cache: a store, and the four faces through which everything in it is read and written."""

from collections.abc import Collection

from backend.cache.flights import Flights
from backend.cache.journal import Journal
from backend.cache.preparing import prepare
from backend.cache.refreshes import Refreshes
from backend.cache.rows import Rows
from backend.cache.store import Mode, Store
from backend.errors import CacheError
from backend.kinds.model import Kind


class Cache:
    """One cache database. Safe for use by several threads; what reads or writes it may block and raise CacheError."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.flights = Flights(store)
        self.rows = Rows(store, self.flights)
        self.refreshes = Refreshes(store)
        self.journal = Journal(store)
        self.listen, self.unlisten = store.listen, store.unlisten
        self.revive, self.close = store.revive, store.close

    @property
    def mode(self) -> Mode:
        """The kind of server that it is on."""
        return self.store.mode

    @property
    def address(self) -> str:
        """The server, without its credentials."""
        return self.store.address

    @property
    def note(self) -> str:
        """A sentence for the user where the cache is not the one that the configuration asked for."""
        return self.store.note

    @property
    def refusal(self) -> CacheError | None:
        """Why nothing may be written to it; None where it may."""
        return self.store.refusal

    def prepare(self, kinds: Collection[Kind]) -> None:
        """Create what is missing of the collections of these kinds; see backend.cache.preparing."""
        prepare(self.store, kinds)
