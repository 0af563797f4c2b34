"""The MongoDB cache. Screens and listings read it; refreshes and commands write it."""

from typing import TYPE_CHECKING, Any

from backend.cache.documents import Change
from backend.cache.records import RefreshRecord

if TYPE_CHECKING:
    from backend.cache.cache import Cache
    from backend.cache.opening import open_cache

__all__ = ["Cache", "Change", "RefreshRecord", "open_cache"]


def __getattr__(name: str) -> Any:
    """Import what needs pymongo on first use: the dashboard paints its first screen before that."""
    if name == "Cache":
        from backend.cache.cache import Cache

        return Cache
    if name == "open_cache":
        from backend.cache.opening import open_cache

        return open_cache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
