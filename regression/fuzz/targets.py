"""The readers that are fuzzed, one row each, with the mutator that knows their format.

The first inputs of a target are the files in `corpus/<name>/`; what those need beside them (weights, external data) is
in `corpus/<name>.beside/`.
"""

import contextlib
import json
import os
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fuzz.model_files import mutate_model_file
from fuzz.mutators import Mutator, mutate_bytes, text_mutator
from fuzz.npz_files import mutate_npz
from fuzz.onnx_models import mutate_onnx
from fuzz.protobuf import protobuf_mutator
from fuzz.tflite_models import mutate_tflite
from stepdown.chips import load_chip
from stepdown.cli import bmodel_dis, bmodel_dis_json, bmodel_dis_mlir, bmodel_dis_text, model_transform
from stepdown.cli.bmodel_dis_read import disassembled
from stepdown.data.dataset import read_list
from stepdown.data.labels import read_labels
from stepdown.data.matfile import read_table as read_matlab
from stepdown.dialects.program import Program, Weights, read_program
from stepdown.dialects.text import parse_module
from stepdown.errors import UnsupportedModel
from stepdown.files.npz import NpzFile
from stepdown.formats.caffe.schema import blobs_class
from stepdown.formats.onnx import binding, versions
from stepdown.model import read_model_file, write_model_file
from stepdown.model.strip import strip
from stepdown.perf import account_of
from stepdown.perf.memory_map import memory_map
from stepdown.perf.roofline import roofline
from stepdown.perf.tables import text_lines
from stepdown.perf.totals import totals_of
from stepdown.perf.trace import write_trace
from stepdown.perf.trace_reader import read_trace
from stepdown.perf.trace_report import GROUPINGS, compare_json, compare_lines, report_json, report_lines
from stepdown.sim.assembly import assembled
from stepdown.transforms.convert_top_to_tpu import read_qtable
from stepdown.transforms.import_calibration_table import read_table

CORPUS = Path(__file__).parent / "corpus"

Reader = Callable[[Path, Path], object]
"""(input file, folder to write into) → anything; raises a StepError where the input is bad."""


@dataclass(frozen=True)
class Target:
    """A reader, the suffix of its files, and how its inputs are mutated."""

    name: str
    suffix: str
    read: Reader
    mutate: Mutator

    @property
    def corpus(self) -> Path:
        """The folder of the first inputs."""
        return CORPUS / self.name

    @property
    def beside(self) -> Path:
        """The folder of the files that lie beside every input."""
        return CORPUS / f"{self.name}.beside"

    def seeds(self) -> list[Path]:
        """Return the files of the corpus, by name."""
        return sorted(path for path in self.corpus.glob("*") if path.is_file())


@cache
def _parser() -> ArgumentParser:
    return model_transform.parser()


def _import(*more: str, model: str = "") -> Reader:
    """Return a reader that runs model_transform.py, without what runs in processes of its own.

    The input is the model, or stands among the words `more` as INPUT where a file beside it, `model`, is; other words
    that name files beside it begin with `./`.
    """

    def read(path: Path, folder: Path) -> None:
        definition = path.parent / model if model else path
        words = ["--model_name", "net", "--model_def", str(definition), "--mlir", str(folder / "net.mlir")]
        beside = {word: str(path.parent / word) for word in more if word.startswith("./")} | {"INPUT": str(path)}
        with (
            open(os.devnull, "w") as nothing,
            contextlib.redirect_stdout(nothing),
            contextlib.redirect_stderr(nothing),
            patch.object(binding, "modernised", _modern),
        ):
            model_transform.run(_parser().parse_args([*words, *(beside.get(w, w) for w in more), "--no_simplify"]))

    return read


def _modern(model: Any) -> Any:
    """Return a model as it is; one in an old operator set would go to onnx's converter, in another process."""
    versions.check_opset(model)
    if versions.opset_of(model) < versions.OLDEST:
        raise UnsupportedModel("is written in an old operator set")
    return model


def _read_mlir(path: Path, folder: Path) -> None:
    read_program(path).write(folder / "again.mlir")


def _read_npz(path: Path, folder: Path) -> None:
    file = NpzFile(path)
    try:
        shapes = [file.header(name) for name in file]
        assert [(t.shape, t.dtype) for t in map(file.__getitem__, file)] == shapes
        assert file.metadata is None or file.metadata.to_json()
    finally:
        file.close()


def _read_bmodel(path: Path, folder: Path) -> None:
    """Read a model file; what is accepted can be written, stripped, and shows its weights."""
    model = read_model_file(path)
    write_model_file(folder / "again.bmodel", model)
    assert read_model_file(folder / "again.bmodel").networks == model.networks
    assert strip(strip(model)) == strip(model)
    write_model_file(folder / "stripped.bmodel", strip(model))
    for network in model.networks:
        for weight in (weight for stage in network.stages for weight in stage.all_weights):
            assert model.array(weight).shape == weight.shape


def _disassemble(path: Path, folder: Path) -> None:
    """Print a model file in every way; its text becomes the same streams."""
    args = bmodel_dis.parser().parse_args([str(path)])
    made = disassembled(args.model, args)
    printed = ["\n".join(each.lines(made, True)) for each in (bmodel_dis_text, bmodel_dis_mlir, bmodel_dis_json)]
    again = assembled(made.model, printed[0], "text")
    for network, other in zip(made.model.networks, again.networks, strict=True):
        for stage, same in zip(network.stages, other.stages, strict=True):
            streams = {s.engine: s.section for s in stage.streams}
            assert all(bytes(again.sections[s.section]) == made.model.sections[streams[s.engine]] for s in same.streams)


def _profile(path: Path, folder: Path) -> None:
    """Say what a model file takes in every way; its ops take all of the time."""
    totals = totals_of(account_of(path))
    memory_map(totals).write_svg(folder / "memory.svg")
    roofline(totals).write_svg(folder / "roofline.svg")
    assert "predicted" in "\n".join(text_lines(totals))
    write_trace(folder / "trace.json", totals.account)
    if totals.account.works:
        assert len(read_trace(folder / "trace.json").slices) == len(totals.account.works)


def _read_trace(path: Path, folder: Path) -> None:
    trace = read_trace(path)
    assert list(report_lines(trace, GROUPINGS, 3))
    assert list(compare_lines(trace, trace, GROUPINGS, 3))
    json.dumps([report_json(trace, GROUPINGS), compare_json(trace, trace, GROUPINGS)], allow_nan=False)


_SMALL = """module {
  func.func @main(%0: tensor<1x4xf32> loc("x")) -> tensor<1x4xf32> {
    %1 = "top.Input"(%0) : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("x")
    %2 = "top.Relu"(%1) : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("r_Relu")
    %3 = "top.Softmax"(%2) {axis = 1 : i64} : (tensor<1x4xf32>) -> tensor<1x4xf32> loc("z_Softmax")
    func.return %3 : tensor<1x4xf32>
  }
}"""


@cache
def _small_program() -> Program:
    return Program(parse_module(_SMALL), Weights())


def _read_qtable(path: Path, folder: Path) -> None:
    read_qtable(str(path), _small_program(), load_chip("bm1684x"))


_MLIR_WORDS: Sequence[str] = (
    "top.Conv", "top.Relu", "top.Input", "top.Weight", "top.None", "tpu.Conv", "tpu.Lut", "tensor", "tensor<*xf32>",
    "f32", "f16", "bf16", "i64", "i8", "ui8", "none", "index", "!quant.uniform", "!quant.calibrated", "loc", "fused",
    "unknown", "dense", "array<i64: 1, 2>", "array<f64: 1.0>", "func.func", "func.return", "builtin.module", "memref",
    "affine_map", "vector<4xf32>", "#loc", "->", "true", "false", "unit", "%0", "%1", "^bb0", "module.weight_file", "?",
)  # fmt: skip
_TOML_WORDS = (
    "name", "kind", "engine", "modes", "asymmetric", "[sources]", "[[sources]]", "[macs_per_cycle]", "true", "=",
    "INT8", "lanes", "systolic", "assumption:", "0", "-1", "1e9", "9223372036854775808", "{}", "[]",
)  # fmt: skip
_CAFFE_WORDS: Sequence[str] = (
    "layer", "name", "type", "bottom", "top", "Convolution", "Pooling", "InnerProduct", "ReLU", "BatchNorm", "Scale",
    "Eltwise", "Concat", "Softmax", "LRN", "Reshape", "Slice", "Crop", "PriorBox", "Permute", "Flatten",
    "DetectionOutput", "convolution_param", "pooling_param", "kernel_size", "stride", "pad", "group", "dilation",
    "num_output", "pool", "MAX", "AVE", "dim", "axis", "shape", "input_param", "include", "phase", "TEST", "TRAIN",
    "true", "{", "}", ":",
)  # fmt: skip
_TRACE_WORDS = (
    "ts", "dur", "pid", "tid", "ph", "name", "args", "op_name", "cat", "parts", "cycles", "elapsed_cycles", "tensor",
    "macs", "bytes", "traceEvents", "thread_name", "null", "true", "1e999", "NaN", "-1", "[", "]", "{}", '""',
)  # fmt: skip
_PATHS = ("a.jpg", "#", "../../..", "/dev/null", "/proc")

_ROWS = (
    Target("onnx", ".onnx", _import(), mutate_onnx),
    Target("tflite", ".tflite", _import(), mutate_tflite),
    Target("caffe", ".prototxt", _import("--model_data", "./net.caffemodel"), text_mutator(*_CAFFE_WORDS)),
    Target(
        "caffemodel",
        ".caffemodel",
        _import("--model_data", "INPUT", model="net.prototxt"),
        protobuf_mutator(blobs_class),
    ),
    Target("mlir", ".mlir", _read_mlir, text_mutator(*_MLIR_WORDS)),
    Target("npz", ".npz", _read_npz, mutate_npz),
    Target("model_file", ".bmodel", _read_bmodel, mutate_model_file),
    Target("bmodel_dis", ".bmodel", _disassemble, mutate_model_file),
    Target("profile", ".bmodel", _profile, mutate_model_file),
    Target("trace", ".json", _read_trace, text_mutator(*_TRACE_WORDS)),
    Target("table", "", lambda path, _: read_table(path), text_mutator("conv", "relu", "1e39", "-0.0", "inf", "nan")),
    Target("qtable", "", _read_qtable, text_mutator("INT8", "F32", "BF16", "F4", "relu_Relu", "#")),
    Target("labels", ".txt", lambda path, _: read_labels(path), text_mutator("cat", "dog")),
    Target("list", ".txt", lambda path, _: read_list(path), text_mutator(*_PATHS)),
    Target("chip", ".toml", lambda path, _: load_chip(path), text_mutator(*_TOML_WORDS)),
    Target("matlab", ".mat", lambda path, _: read_matlab(path, path.read_bytes(), "synsets"), mutate_bytes),
)
TARGETS = {target.name: target for target in _ROWS}
