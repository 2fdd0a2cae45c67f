"""Runs tools in forks of one process that has imported what they import, which is most of a short run's time.

`commands()` starts that process and makes a folder with a command for each tool, to be put first on PATH. A command
hands its arguments, environment, folder and open files to the process, a fork of which is the tool, and ends as that
does. It runs the tool itself where the environment differs in what is read when Python or a library starts, where a
standard file is closed, or where an argument is the number of an open file.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import marshal
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "OMP_", "OPENBLAS_", "_ARGCOMPLETE")
LEFT_OUT = ("tvm", "dask", "distributed")
"""Packages of few tools that take long to import."""
SERVED, REFUSED = b"e", b"r"

COMMAND = """#!{python} -IS
import _socket, marshal, os, sys
tool = {tool!r}
reply = b"r"
if not any("/dev/fd/" in word for word in sys.argv):
    try:
        order = marshal.dumps((tool, sys.argv[1:], os.getcwd(), dict(os.environ)))
        files = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
        server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        server.connect({address!r})
        server.sendmsg([len(order).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
        server.sendall(order)
        reply = server.recv(2)
    except OSError:
        pass
if reply[:1] == b"r":
    os.execv(tool, [tool, *sys.argv[1:]])
os._exit(reply[1] if reply else 137)
"""


@cache
def commands(*tools: Path) -> Path:
    """Return a folder with a command for each tool, a script in Python; the process ends with this one."""
    folder = Path(tempfile.mkdtemp(prefix="stepdown_tools_"))
    address = str(folder / "server")
    for tool in tools:
        command = folder / tool.name
        command.write_text(COMMAND.format(python=sys.executable, tool=str(tool), address=address))
        command.chmod(0o755)
    served = subprocess.Popen(
        [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert served.stdout
    served.stdout.readline()
    atexit.register(served.communicate)
    return folder


def _serve(address: str) -> None:
    """Fork for each command, until the one who started this ends."""
    _import_what_tools_need()
    signal.signal(signal.SIGCHLD, _forget_the_ended)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            order, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _become_the_tool(order)
            order.close()
    shutil.rmtree(Path(address).parent)


def _forget_the_ended(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _import_what_tools_need() -> None:
    import stepdown

    absent: dict[str, Any] = dict.fromkeys(LEFT_OUT)
    sys.modules.update(absent)
    ours = [module.name for module in pkgutil.walk_packages(stepdown.__path__, "stepdown.", onerror=lambda name: None)]
    for name in (*ours, "onnx", "onnxruntime", "xdsl.parser", "PIL.Image", "filecheck.main"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in LEFT_OUT:
        del sys.modules[name]
    gc.collect()
    gc.freeze()  # forks need not look for garbage in what was imported


def _become_the_tool(order: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, files, _, _ = socket.recv_fds(order, 8, 3)
    with order.makefile("rb") as stream:
        tool, words, folder, environment = marshal.loads(stream.read(int.from_bytes(length, "big")))
    if _at_start(environment) != _at_start(dict(os.environ)):
        order.sendall(REFUSED)
        os._exit(0)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    _end_with(order)
    code = _run(tool, words)
    order.sendall(SERVED + bytes([code & 255]))
    os._exit(0)


def _at_start(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}


def _end_with(order: socket.socket) -> None:
    """Have this process ended by SIGIO when the other end of a connection ends."""
    fcntl.fcntl(order, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(order, fcntl.F_SETFL, os.O_ASYNC)


def _run(tool: str, words: list[str]) -> int:
    """Run a tool as Python would, and return its exit code."""
    sys.argv, sys.path[0] = [tool, *words], os.path.dirname(tool)
    sys.stdin = open(0, encoding=sys.stdin.encoding, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, sys.stderr.encoding, sys.stderr.errors, closefd=False)  # noqa: SIM115
    code = _exit_code(tool)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        return code
    return 120


def _exit_code(tool: str) -> int:
    try:
        runpy.run_path(tool, run_name="__main__")
    except SystemExit as stop:
        if not isinstance(stop.code, str):
            return stop.code or 0
        print(stop.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    _serve(sys.argv[1])
