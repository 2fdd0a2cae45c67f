"""A Dask cluster: where its scheduler is, and the connection to it. Nothing of Dask is imported before `connect`."""

import contextlib
import logging
import queue
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stepdown.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

WAIT_S = 60.0
_MOST_CONNECT_S, _SPARE_S = 10.0, 2.0
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
        found = _within(
            lambda: client_class(self.address, timeout=limit_s, set_as_default=False, name="stepdown"),
            limit_s + _SPARE_S,
        )
        if found is None or isinstance(found, Exception):
            problem = "" if found is None or isinstance(found, OSError) else f" ({found})"
            raise InputError(
                f"no scheduler answers there within {limit_s:g} s{problem}", self.address,
                "start one with `dask scheduler`, or check host and port",
            )  # fmt: skip
        return found

    def _check(self) -> None:
        host, _, port = self.address.removeprefix("tcp://").removeprefix("tls://").rpartition(":")
        if not self.address.startswith(_FORMS) or not host or not (port.isdecimal() and 0 < int(port) < 65536):
            raise InputError("is no address of a scheduler", self.address, "give one like tcp://host:8786")


def _within(make: "Callable[[], Client]", limit_s: float) -> "Client | Exception | None":
    """Return what `make` gives or raises, None where that takes too long: Dask waits for ever for a greeting."""
    made: queue.SimpleQueue[Client | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            made.put(make())
        except Exception as error:
            made.put(error)

    threading.Thread(target=run, daemon=True).start()
    with contextlib.suppress(queue.Empty):
        return made.get(timeout=limit_s)
    return None


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
