"""The MongoDB cache: what every screen and every listing reads, and every refresh and command writes."""

from backend.cache.documents import Change, RefreshRecord, Scope
from backend.cache.opening import open_cache
from backend.cache.store import Cache

__all__ = ["Cache", "Change", "RefreshRecord", "Scope", "open_cache"]
