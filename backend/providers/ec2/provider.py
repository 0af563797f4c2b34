"""The provider for Amazon EC2 and compatible clouds: one connection."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from backend.callbacks import ignore
from backend.providers.ec2.entry import FACES
from backend.providers.ec2.requests import Requests
from backend.providers.protocol import Waiting
from backend.providers.retry import RetryPolicy

if TYPE_CHECKING:
    from backend.config import Cloud


class EC2Provider:
    """One connection to EC2 in one region, for one thread; see backend.providers.protocol.Provider."""

    def __init__(
        self,
        cloud: "Cloud",
        check: Callable[[], None] = ignore,
        policy: RetryPolicy | None = None,
        on_wait: Callable[[Waiting], None] = ignore,
    ) -> None:
        self._cloud = cloud
        self._requests = Requests(cloud, check, policy, on_wait)

    def __repr__(self) -> str:
        return f"EC2Provider({self._cloud.name!r}, {self._cloud.region!r})"

    def of(self, kind: str) -> Any:
        module, _, face = FACES[kind].path.partition(".")
        return getattr(import_module(f"backend.providers.ec2.{module}"), face)(self._requests)
