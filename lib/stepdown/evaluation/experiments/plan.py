"""What is to be measured: networks, rows of settings, and how a list of them is read from a TOML or CSV file."""

import csv
import itertools
import platform
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from stepdown.errors import InputError
from stepdown.files.npz import closest

ENGINES = ("stepdown", "onnxruntime", "litert", "tvm-relax")
MODES = ("F32", "F16", "BF16", "INT8", "INT8_ASYM")
OURS = ENGINES[0]
_OTHER_MODES = ("F32", "INT8")
_FILES = ("mlir", "table", "source", "quantised")


@dataclass(frozen=True)
class Subject:
    """A network and its files.

    `mlir` is the TOP module, or one that is quantised already, with the preprocessing in it; `table` the calibration
    table that INT8 needs; `source` the float model for other engines (.onnx, .tflite), `quantised` their INT8 model:
    each one file, or several by commas, one a kind.
    """

    name: str
    mlir: str
    table: str = ""
    source: str = ""
    quantised: str = ""

    def file(self, mode: str, suffix: str) -> str:
        """Return the model for another engine; raises InputError where there is none."""
        kind = "quantised" if mode == "INT8" else "source"
        for path in getattr(self, kind).split(","):
            if path.endswith(suffix):
                return path
        raise InputError(f"no {kind} model {suffix} is given for {mode}", self.name, f'{kind} = "X{suffix}"')


@dataclass(frozen=True)
class Row:
    """One way to run a network; chip, processor, features, layout and level are for our engine alone.

    `count` is how many samples it is judged on, 0: as the settings say.
    """

    model: str
    engine: str = OURS
    mode: str = "F32"
    chip: str = platform.machine()
    processor: str = ""
    features: str = ""
    layout: str = ""
    level: int = 3
    threads: int = 1
    count: int = 0

    @property
    def title(self) -> str:
        """The row in words, without what another engine does not have."""
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        if self.engine != OURS:
            return f"{self.model}, {self.engine}, {self.mode}, {threads}"
        target = " ".join(filter(None, (self.chip, self.processor, self.features)))
        layout = f", {self.layout}" if self.layout else ""
        return f"{self.model}, {self.engine}, {self.mode}, {target}, level {self.level}{layout}, {threads}"


@dataclass(frozen=True)
class Settings:
    """How rows are measured: warm-up and timed runs, at most so many seconds of them, and on which samples.

    With `tune`, rows of level 4 first search for schedules as `--codegen="tune=N"` does; without, they have those that
    were found before.
    """

    runs: int = 50
    warmup: int = 5
    seconds: float = 20.0
    dataset: str = ""
    count: int = 0
    label_offset: int = 0
    tune: int = 0


@dataclass(frozen=True)
class Plan:
    """All rows, each once, the networks that they name, and the settings."""

    rows: tuple[Row, ...]
    subjects: Mapping[str, Subject]
    settings: Settings = field(default_factory=Settings)


def read_plan(path: Path, settings: Settings) -> Plan:
    """Return the plan that a file holds; `settings` are those that it does not name.

    Raises:
        InputError: no such file, or something in it that there is not.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", str(path)) from None
    return _from_csv(text, path, settings) if path.suffix == ".csv" else _from_toml(text, path, settings)


def multiplied(named: Mapping[str, Sequence[Any]]) -> list[Row]:
    """Return a row for each combination of the values named; engines other than ours have no settings of code."""
    made = (Row(**dict(zip(named, values, strict=True))) for values in itertools.product(*named.values()))
    return list(dict.fromkeys(map(_plain, made)))


def checked(rows: Iterable[Row], subjects: Mapping[str, Subject], where: str) -> tuple[Row, ...]:
    """Return the rows, each once; raises InputError for one that says what there is not."""
    kept = tuple(dict.fromkeys(map(_plain, rows)))
    if not kept:
        raise InputError("lists no experiment", where)
    for row in kept:
        for name, choices in (("model", tuple(subjects)), ("engine", ENGINES), ("mode", MODES)):
            if getattr(row, name) not in choices:
                raise InputError(
                    f"there is no {name} '{getattr(row, name)}'", where, closest(getattr(row, name), list(choices))
                )
        if row.engine != OURS and row.mode not in _OTHER_MODES:
            raise InputError(f"mode {row.mode} is of {OURS} alone, not of {row.engine}", where, "give F32 or INT8")
        for name, least in (("threads", 1), ("count", 0)):
            check_least(name, getattr(row, name), least, where + " ")
        _check_effort(row, where)
    return kept


def check_settings(settings: Settings, where: str) -> Settings:
    """Return settings; `where` is said before the name of one that is out of its bounds: `--`, or a file's name.

    Raises:
        InputError: there are too few runs, or a number is negative.
    """
    for name, least in (("runs", 1), ("warmup", 0), ("count", 0), ("tune", 0), ("label_offset", 0)):
        check_least(name, getattr(settings, name), least, where)
    if not settings.seconds > 0:
        raise InputError(f"is {settings.seconds:g}, want more than 0", f"{where}seconds")
    return settings


def check_least(name: str, value: int, least: int, where: str) -> None:
    """Raise InputError, with `where` before the name, for a number that is too small."""
    if value < least:
        raise InputError(f"is {value}, want at least {least}", where + name)


def _check_effort(row: Row, where: str) -> None:
    from stepdown.native.effort import effort_of

    try:
        effort_of(row.level, row.layout)
    except InputError as error:
        raise InputError(error.what, where, error.fix) from None


def _plain(row: Row) -> Row:
    """Return a row of another engine without what only ours has."""
    return row if row.engine == OURS else Row(row.model, row.engine, row.mode, threads=row.threads, count=row.count)


def _from_toml(text: str, path: Path, settings: Settings) -> Plan:
    try:
        known = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"is no TOML ({error})", str(path)) from None
    _check_names(known, ("settings", "model", "experiment"), str(path))
    subjects = {name: _subject(name, files, path) for name, files in _table(known, "model", path).items()}
    rows = [row for table in _experiments(known, path) for row in multiplied(_lists(table, path))]
    asked = _settings(_table(known, "settings", path), path)
    return Plan(checked(rows, subjects, str(path)), subjects, replace(settings, **asked))


def _table(known: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = known.get(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{name} is no table", str(path), f"write [{name}{'.NAME' * (name == 'model')}]")
    return table


def _experiments(known: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    tables = known.get("experiment", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError("experiment is no list of tables", str(path), "write [[experiment]]")
    return tables


def _settings(asked: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the settings that a file names, in their bounds; a whole number may stand for any number."""
    where = f"{path} [settings]"
    kinds = {f.name: type(f.default) for f in fields(Settings)}
    _check_names(asked, list(kinds), where)
    for name, value in asked.items():
        if type(value) is not kinds[name] and (kinds[name], type(value)) != (float, int):
            raise InputError(f"{name} = {value!r} is not of {kinds[name].__name__}", where)
    check_settings(replace(Settings(), **asked), where + " ")
    return {**asked, "dataset": _beside(path, asked["dataset"])} if asked.get("dataset") else asked


def _lists(table: Mapping[str, Any], path: Path) -> dict[str, list[Any]]:
    kinds = {f.name: type(f.default) if f.name != "model" else str for f in fields(Row)}
    _check_names(table, list(kinds), f"{path} [[experiment]]")
    named = {name: value if isinstance(value, list) else [value] for name, value in table.items()}
    for name, values in named.items():
        if not all(type(value) is kinds[name] for value in values) or not values:
            raise InputError(f"{name} = {table[name]!r} is not of {kinds[name].__name__}", str(path))
    if "model" not in named:
        raise InputError("names no model", f"{path} [[experiment]]", 'give model = "NAME"')
    return named


def _subject(name: str, files: Any, path: Path) -> Subject:
    where = f"{path} [model.{name}]"
    if not isinstance(files, dict) or "mlir" not in files:
        raise InputError(f"[model.{name}] names no module", str(path), 'give mlir = "X.mlir"')
    _check_names(files, _FILES, where)
    for kind, given in files.items():
        if not isinstance(given, str):
            raise InputError(f"{kind} = {given!r} is no name of a file", where)
    return Subject(name, **{kind: _beside(path, given) for kind, given in files.items()})


def _from_csv(text: str, path: Path, settings: Settings) -> Plan:
    table = list(csv.DictReader(text.splitlines()))
    names = [f.name for f in fields(Row)]
    _check_names(table[0] if table else {}, ["model", *names, *_FILES], str(path))
    subjects, rows = {}, []
    for line, each in enumerate(table, 2):
        given = {k: v.strip() for k, v in each.items() if k and v and v.strip()}
        if "mlir" not in given:
            raise InputError("names no module in the column mlir", f"{path}:{line}")
        files = {kind: _beside(path, given.pop(kind)) for kind in _FILES if kind in given}
        name = given.setdefault("model", Path(files["mlir"]).stem)
        subjects[name] = Subject(name, **files)
        numbers = {k: _number(v, f"{path}:{line}") for k, v in given.items() if k in ("level", "threads", "count")}
        rows.append(Row(**{**given, **numbers}))  # type: ignore[arg-type]
    return Plan(checked(rows, subjects, str(path)), subjects, settings)


def _number(text: str, where: str) -> int:
    if not text.isdecimal():
        raise InputError(f"'{text}' is no number", where)
    return int(text)


def _beside(path: Path, given: str) -> str:
    """Return paths, by commas, as seen from the folder of the file that names them."""
    return ",".join(str(path.parent / part.strip()) for part in given.split(","))


def _check_names(given: Iterable[str], known: Sequence[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise InputError(f"there is no '{name}'", where, closest(str(name), list(known)))
