"""The child process that runs LiteRT: whatever a model makes of it, the tool goes on.

    python -m stepdown.runtimes.litert_worker FD

Requests and answers travel over the socket FD: ("open", settings) → specs of inputs and outputs; ("run", arrays,
wanted names) → arrays; an answer is ("ok", value) or ("error", text).
"""

import os
import sys
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from stepdown.files.child import limit_process

RESOLVERS = {"reference": "BUILTIN_REF", "optimized": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "xnnpack": "BUILTIN"}
"""What `kernels` means to LiteRT."""


class Worker:
    """One interpreter of each kind: a plain one, and one that keeps every tensor."""

    def __init__(self, path: str, kernels: str, threads: int) -> None:
        self.path, self.kernels, self.threads = path, kernels, threads
        self._made: dict[bool, Any] = {}
        self._shapes: dict[bool, list[tuple[int, ...]]] = {}

    def interpreter(self, keep_all: bool, shapes: list[tuple[int, ...]] | None = None) -> Any:
        """Return the interpreter with its inputs in `shapes`."""
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        if keep_all not in self._made:
            self._made[keep_all] = Interpreter(
                self.path,
                num_threads=self.threads or None,
                experimental_op_resolver_type=OpResolverType[RESOLVERS[self.kernels]],
                experimental_preserve_all_tensors=keep_all,
            )
            self._shapes[keep_all] = []
        made = self._made[keep_all]
        wanted = shapes or [tuple(int(n) for n in d["shape"]) for d in made.get_input_details()]
        if wanted != self._shapes[keep_all]:
            for details, shape in zip(made.get_input_details(), wanted, strict=True):
                if tuple(details["shape"]) != shape:
                    made.resize_tensor_input(details["index"], shape)
            made.allocate_tensors()
            self._shapes[keep_all] = wanted
        return made

    def check(self) -> None:
        """Load the model and allocate its tensors."""
        self.interpreter(False)

    def run(self, arrays: list[np.ndarray], wanted: list[int], keep_all: bool) -> list[np.ndarray]:
        """Run once; return the tensors `wanted` by index."""
        made = self.interpreter(keep_all, [a.shape for a in arrays])
        for details, array in zip(made.get_input_details(), arrays, strict=True):
            made.set_tensor(details["index"], array)
        made.invoke()
        return [made.get_tensor(index) for index in wanted]


def serve(connection: Connection) -> None:
    """Answer requests until the other side hangs up."""
    worker: Worker | None = None
    while True:
        try:
            request, *arguments = connection.recv()
        except EOFError:
            return
        try:
            if request == "open":
                worker = Worker(*arguments)
                worker.check()
                answer: Any = None
            else:
                assert worker is not None
                answer = worker.run(*arguments)
            connection.send(("ok", answer))
        except Exception as error:  # whatever LiteRT raises is told to the tool, which says it in one line
            connection.send(("error", str(error) or type(error).__name__))


if __name__ == "__main__":
    limit_process(int(sys.argv[2]))
    serve(Connection(os.dup(int(sys.argv[1]))))
