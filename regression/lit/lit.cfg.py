"""lit's configuration: the tools and filecheck are on PATH; `REQUIRES: mlir-opt` where MLIR's own tool is installed."""
# ruff: noqa: F821  (lit defines `config` and `lit_config`)

import os
import re
import sys
from pathlib import Path

import lit.formats

ROOT = Path(__file__).resolve().parents[2]

config.name = "stepdown"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["inputs"]
config.test_source_root = str(ROOT / "regression" / "lit")
config.test_exec_root = lit_config.params.get("exec_root", str(ROOT / ".cache" / "lit"))
_TOOLS = [str(ROOT / "tools"), str(Path(sys.prefix) / "bin")]
_PATH = os.environ["PATH"].split(os.pathsep)
config.environment["PATH"] = os.pathsep.join([*(folder for folder in _TOOLS if folder not in _PATH), *_PATH])
config.environment.update((name, text) for name, text in os.environ.items() if name.startswith(("LC_", "LANG")))
config.environment["REGRESSION_PATH"] = str(ROOT / "regression")


def mlir_opts() -> list[tuple[int, str]]:
    """Return version and path of every mlir-opt on PATH; Debian calls it mlir-opt-19."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if Path(folder).is_dir()]
    names = [path for folder in folders for path in folder.glob("mlir-opt*")]
    found = [(re.fullmatch(r"mlir-opt(?:-(\d+))?", path.name), path) for path in names]
    return [(int(match[1] or 0), str(path)) for match, path in found if match]


if mlir_opts():
    config.available_features.add("mlir-opt")
    config.substitutions.append((r"%mlir-opt", max(mlir_opts())[1]))
