"""A Dask cluster: where its scheduler is, and the connection to it. Nothing of Dask is imported before `connect`."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepdown.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

WAIT_S = 60.0
_MOST_CONNECT_S = 10.0
_FORMS = ("tcp://", "tls://")


@dataclass(frozen=True)
class Cluster:
    """A scheduler's address, how long to wait for it and for a worker, and who is told of workers that come and go."""

    address: str
    wait_s: float = WAIT_S
    tell: Callable[[str], None] = lambda text: None

    def connect(self) -> "Client":
        """Return a client of the scheduler.

        Raises:
            InputError: Dask is not installed, the address is malformed, or nothing answers there in time.
        """
        client_class = _client_class()
        self._check()
        limit_s = min(self.wait_s, _MOST_CONNECT_S)
        try:
            return client_class(self.address, timeout=limit_s, set_as_default=False, name="stepdown")
        except (OSError, ValueError, TypeError) as error:
            problem = "" if isinstance(error, TimeoutError | OSError) else f" ({error})"
            raise InputError(
                f"no scheduler answers there within {limit_s:g} s{problem}", self.address,
                "start one with `dask scheduler`, or check host and port",
            ) from error  # fmt: skip

    def _check(self) -> None:
        host, _, port = self.address.removeprefix("tcp://").removeprefix("tls://").rpartition(":")
        if not self.address.startswith(_FORMS) or not host or not (port.isdecimal() and 0 < int(port) < 65536):
            raise InputError("is no address of a scheduler", self.address, "give one like tcp://host:8786")


def _client_class() -> "type[Client]":
    """Import Dask, and keep its warnings and logs from stderr: what matters is told by us."""
    warnings.filterwarnings("ignore", module=r"(dask|distributed|tornado)\b")
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            f"needs Dask, which is not installed ({error.name or error})",
            "--scheduler",
            "pip install 'stepdown[cluster]'",
        ) from None
    for name in ("distributed", "distributed.client", "tornado", "tornado.application", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return Client
