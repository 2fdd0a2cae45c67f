"""What all tools share: parsing, completion, one-line errors, exit codes.

A tool is a module `stepdown.cli.NAME` with

    def parser() -> argparse.ArgumentParser      cheap: imports neither numpy nor onnx nor xdsl
    def run(args: argparse.Namespace) -> int     0, or 1 where a comparison failed
"""

import argparse
import errno
import importlib
import os
import sys
from typing import Any, NoReturn

from stepdown.errors import InputError, StepError

BUG_EXIT_CODE = 70
MAX_MESSAGE = 1600


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and whose help keeps the layout of the examples."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        settings.setdefault("allow_abbrev", False)
        super().__init__(**settings)

    def error(self, message: str) -> NoReturn:
        """Raise InputError instead of printing the usage."""
        raise InputError(message, fix=f"see {self.prog} --help")


def run(name: str, argv: list[str] | None = None) -> int:
    """Run the tool `stepdown.cli.NAME` and return its exit code; no error escapes as a traceback without --debug."""
    arguments = sys.argv[1:] if argv is None else argv
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # of small products, more threads mostly wait for each other
    debug = "--debug" in arguments
    try:
        code = _run(name, arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"{_program()}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        text, code = _describe(error)
        print(f"{_program()}: error: {_one_line(text)}", file=sys.stderr)
        return code


def _run(name: str, arguments: list[str]) -> int:
    tool = importlib.import_module(f"stepdown.cli.{name}")
    parser = tool.parser()
    _complete(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    try:
        return int(tool.run(parser.parse_args(arguments)))
    except SystemExit as stop:  # argparse ends --help this way
        return int(stop.code or 0)


def _program() -> str:
    return os.path.basename(sys.argv[0])


def _describe(error: Exception) -> tuple[str, int]:
    """Return the one line that tells the user of `error`, and the exit code."""
    if isinstance(error, StepError):
        return str(error), error.exit_code
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller input or batch", 4
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE):
        return f"{error.filename or 'writing'}: {error.strerror}", 4
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}", 2
    return (
        f"a bug of ours, please report it: {type(error).__name__}: {error}; rerun with --debug for the traceback",
        BUG_EXIT_CODE,
    )


def _one_line(text: str) -> str:
    """Return a message as one line of moderate length; what a terminal would obey is escaped."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.splitlines()))
    half = MAX_MESSAGE // 2
    return line if len(line) <= MAX_MESSAGE else f"{line[:half]} … {line[-half:]}"


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell's request for completions; argcomplete is imported only then."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
