"""What a pass is: a frozen dataclass whose fields are its command-line options.

@dataclass(frozen=True)
class ShapeInfer(Pass):
    '''One line that --help shows.'''
    def run(self, program): ...
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from stepdown.dialects.program import Program
from stepdown.errors import InputError
from stepdown.files.npz import closest


@dataclass(frozen=True)
class Pass:
    """A transformation of a program, with its options as fields; every option has a text form `key=value`."""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {}
    """The allowed values of string options."""
    required: ClassVar[tuple[str, ...]] = ()

    def run(self, program: Program) -> None:
        """Transform `program` in place."""
        raise NotImplementedError

    @classmethod
    def pass_name(cls) -> str:
        """The name on the command line: the module's stem with dashes."""
        return cls.__module__.rsplit(".", 1)[-1].replace("_", "-")

    @classmethod
    def options(cls) -> list[str]:
        """Return the option names."""
        return [field.name for field in dataclasses.fields(cls)]

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the pass for the options `key=value key=value …`.

        Raises:
            InputError: an unknown or missing option, or a value that is not allowed; names what is.
        """
        given = dict(cls._option(word) for word in split_options(text, f"--{cls.pass_name()}"))
        if missing := [name for name in cls.required if name not in given]:
            raise InputError(f"--{cls.pass_name()} needs {', '.join(f'{m}=…' for m in missing)}", fix=cls.usage())
        return cls(**given)

    @classmethod
    def usage(cls) -> str:
        """Return how the pass is written with all its options."""
        words = [
            f"{f.name}={'|'.join(cls.choices.get(f.name, ())) or _placeholder(f)}" for f in dataclasses.fields(cls)
        ]
        return f'--{cls.pass_name()}="{" ".join(words)}"' if words else f"--{cls.pass_name()}"

    @classmethod
    def _option(cls, word: str) -> tuple[str, Any]:
        key, _, value = word.partition("=")
        declared = {field.name: field for field in dataclasses.fields(cls)}
        if key not in declared:
            hint = closest(key, list(declared)) if declared else "it has none"
            raise InputError(f"--{cls.pass_name()} has no option '{key}'", fix=hint)
        if allowed := cls.choices.get(key):
            if value not in allowed:
                raise InputError(f"--{cls.pass_name()}: {key} is '{value}', want one of {', '.join(allowed)}")
            return key, value
        return key, _value(declared[key], value, f"--{cls.pass_name()}: {key}")


def split_options(text: str, where: str) -> list[str]:
    """Split `key=value` words at spaces, with the shell's quoting rules for values that hold spaces.

    Raises:
        InputError: a quote is not closed.
    """
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise InputError(f"{where}: {error} in '{text}'") from None


def _value(declared: "dataclasses.Field[Any]", text: str, where: str) -> Any:
    if declared.type in (bool, "bool"):
        if text not in ("true", "false"):
            raise InputError(f"{where} is '{text}', want true or false")
        return text == "true"
    if declared.type in (int, "int", float, "float"):
        number = int if declared.type in (int, "int") else float
        try:
            return number(text)
        except ValueError:
            raise InputError(f"{where} is '{text}', want a number") from None
    return text


def _placeholder(declared: "dataclasses.Field[Any]") -> str:
    return "true|false" if declared.type in (bool, "bool") else "…"
