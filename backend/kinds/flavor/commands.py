"""`price refresh`: fetches the prices of flavors."""

from backend.commands.lookup import fetch
from backend.commands.model import Command, Context, Result
from backend.errors import RefusedError
from backend.format import counted
from backend.kinds.flavor import FLAVOR
from backend.kinds.flavor.face import flavors
from backend.kinds.flavor.prices import fetch_prices


def refresh_prices(context: Context) -> Result:
    """Fetch the prices of the region now, however old those in the cache are, and list the flavors with them."""
    session = context.session
    source = flavors(context.connect()).prices
    if source.why_not:
        raise RefusedError(source.why_not, f"Known: {source.fallback().text}.")
    found = fetch_prices(source, session.cache, session.cloud.name, context.check)
    done = fetch(context, FLAVOR)
    message = (
        f"{counted(len(found.prices), 'price')} of {session.cloud.region}, {found.text}: "
        f"{counted(done.count, FLAVOR.noun, FLAVOR.nouns)}, {done.changed:,} changed."
    )
    return Result(message, kind=FLAVOR, differences=(done,))


COMMANDS = (
    Command(
        ("price", "refresh"),
        "Fetch the prices of the region, and list the flavors with them",
        refresh_prices,
        needs="price list",
        refreshes=FLAVOR.name,
    ),
)
