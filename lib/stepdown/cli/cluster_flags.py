"""The flags by which a tool has its samples done on a Dask cluster."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from stepdown.errors import InputError

if TYPE_CHECKING:
    from stepdown.distributed.cluster import Cluster

_WAIT_S = 60.0


def add_cluster_flags(group: "argparse._ArgumentGroup | argparse.ArgumentParser") -> None:
    """Add --scheduler and --scheduler_wait."""
    group.add_argument(
        "--scheduler", metavar="tcp://HOST:PORT", help="run on the workers of this Dask cluster; see docs/cluster.md"
    )
    group.add_argument(
        "--scheduler_wait", type=float, metavar="S", help=f"how long to wait for a worker to join (default {_WAIT_S:g})"
    )


def cluster_from_args(args: argparse.Namespace) -> "Cluster | None":
    """Return the cluster that the flags name, None for this machine.

    Raises:
        InputError: flags that have no meaning together, or a time that is none.
    """
    if not args.scheduler:
        if args.scheduler_wait is not None:
            raise InputError("has no meaning without --scheduler", "--scheduler_wait", "leave it out")
        return None
    if args.workers:
        raise InputError("has no meaning with --scheduler", "--workers", "all workers that have joined take part")
    wait_s = _WAIT_S if args.scheduler_wait is None else args.scheduler_wait
    if not 0 < wait_s < 1e6:
        raise InputError(f"{wait_s:g} is no time to wait", "--scheduler_wait", "give seconds")
    from stepdown.distributed.cluster import Cluster

    return Cluster(args.scheduler, wait_s, _tell)


def _tell(text: str) -> None:
    start = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{start}{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr, flush=True)
