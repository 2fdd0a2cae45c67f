"""The errors a user can cause or meet: one line each, and one exit code a subclass."""


class StepError(Exception):
    """An error told to the user in one line: where it is, what is wrong, how to fix it.

    `where` is a file, `file:line`, an op with its location or a tensor; `fix` is what the user can do.
    A plain `StepError` is a bug of ours (exit code 70); raise a subclass for anything a user can cause.
    """

    exit_code = 70

    def __init__(self, what: str, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.fix}" if self.fix else text


class InputError(StepError):
    """A wrong command line, option value or input file."""

    exit_code = 2


class UnsupportedModel(StepError):
    """A valid model that holds something we do not support; the message names all of it."""

    exit_code = 3


class ResourceError(StepError):
    """Memory, disk or time ran out."""

    exit_code = 4
