"""The C++ runner, built once for all tests, and small libraries for it."""

import fcntl
import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkout import PACKAGE

from stepdown.files.npz import TensorInfo
from stepdown.native.tensors import BYTES
from stepdown.numerics.quantize import QuantParams

SOURCE = PACKAGE / "native" / "runner"
CHECKED = "-fsanitize=address,undefined -fno-sanitize-recover=all"
"""So that a read beyond a buffer ends the program, which then returns no code of its own."""
FLAGS = [f"-DCMAKE_{name}_FLAGS={CHECKED}" for name in ("C", "CXX")]
FLAGS += [f"-DCMAKE_{name}_FLAGS_RELEASE=-O0" for name in ("C", "CXX")]


def missing() -> str:
    """Return what the runner's build lacks here, "" where it lacks nothing."""
    lacking = [name for name in ("cmake", "make", "g++", "gcc") if shutil.which(name) is None]
    if not any((Path(folder) / "stb_image.h").exists() for folder in ("/usr/include/stb", "/usr/local/include/stb")):
        lacking.append("stb_image.h (libstb-dev)")
    return ", ".join(lacking)


def built(folder: Path) -> Path:
    """Return the program, built in a folder that the processes of a test run share."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            for command in (
                ["cmake", "-S", SOURCE, "-B", folder / "build", *FLAGS],
                ["cmake", "--build", folder / "build"],
            ):
                ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600)
                if ended.returncode:
                    pytest.fail(f"{ended.stdout[-3000:]}{ended.stderr[-3000:]}", pytrace=False)
            (folder / "done").touch()
    return folder / "build" / "run_model"


@dataclass(frozen=True)
class Program:
    """The program, and how to call it."""

    path: Path

    def __call__(self, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run it; what it prints is captured."""
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}
        command = [str(self.path), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, cwd=cwd)

    def result(self, *arguments: str | Path) -> dict[str, Any]:
        """Return what it prints as JSON."""
        ended = self(*arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def input(self, *arguments: str | Path, folder: Path) -> np.ndarray:
        """Return the one input that it gives to the network."""
        ended = self(*arguments, "--save_input", folder / "input.npz")
        assert ended.returncode == 0, ended.stderr
        with np.load(folder / "input.npz") as saved:
            (name,) = saved.files
            return saved[name]


@dataclass(frozen=True)
class Port:
    """A tensor of a library, as its metadata describes it."""

    name: str
    shape: tuple[int, ...]
    type: str = "f32"
    order: tuple[int, ...] = ()
    layout_order: tuple[int, ...] = ()
    params: QuantParams | None = None

    @property
    def bytes(self) -> int:
        """The bytes it takes."""
        return int(np.prod(self.shape)) * BYTES[self.type]

    def described(self, role: str) -> dict[str, Any]:
        """Return its metadata."""
        order = self.order or tuple(range(len(self.shape)))
        values = {"shape": self.shape, "order": order, "layout_order": self.layout_order, "type": self.type}
        params = asdict(self.params) if self.params else None
        return {"name": self.name, "role": role, **values, "params": params, "info": asdict(TensorInfo(type=self.type))}

    def row(self, role: str) -> str:
        """Return its line of the table in C."""
        return f'{{"{self.name}", "{self.type}", SD_{role.upper()}, 0, 0, 0, 0, {self.bytes}}},'


LIBRARY = """
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "stepdown.h"
struct sd_model { unsigned char in[INPUT], out[OUTPUT]; };
static const sd_tensor table[] = { TABLE };
const sd_tensor *sd_tensors(size_t *count) { *count = sizeof table / sizeof *table; return table; }
const char *sd_missing(void) { return MISSING; }
sd_model *sd_create(void) { return CREATED; }
sd_model *sd_create_threads(int threads) { return threads == 1 ? sd_create() : NULL; }
void *sd_data(sd_model *model, size_t tensor) { return tensor ? model->out : model->in; }
int sd_run(sd_model *model) { memcpy(model->out, model->in, INPUT < OUTPUT ? INPUT : OUTPUT); return ENDED; }
void sd_destroy(sd_model *model) { free(model); }
const char stepdown_metadata[] = METADATA;
"""


def library(
    path: Path, given: Port, made: Port | None = None, preprocessing: dict[str, Any] | None = None, **code: str
) -> Path:
    """Compile a library whose network copies the bytes of its input to its output; the input is named `image`.

    `code` replaces parts of its C: MISSING, CREATED, ENDED or METADATA.
    """
    made = made or Port("made", given.shape, given.type, given.order, given.layout_order, given.params)
    tensors = [given.described("input"), made.described("output")]
    metadata = {
        "tensors": tensors, "inputs": {given.name: "image"}, "processor": "wonder-1",
        "preprocessing": {} if preprocessing is None else {"image": preprocessing},
    }  # fmt: skip
    parts = {
        "INPUT": str(given.bytes), "OUTPUT": str(made.bytes), "TABLE": given.row("input") + made.row("output"),
        "MISSING": "NULL", "CREATED": "calloc(1, sizeof(sd_model))", "ENDED": "0",
        "METADATA": json.dumps(json.dumps(metadata)), **code,
    }  # fmt: skip
    defines = "".join(f"#define {name} {value}\n" for name, value in parts.items())
    path.with_suffix(".c").write_text(defines + LIBRARY)
    command = ["gcc", "-shared", "-fPIC", f"-I{PACKAGE / 'native' / 'runtime'}", "-o", path, path.with_suffix(".c")]
    subprocess.run([str(word) for word in command], check=True, timeout=600)
    return path
