"""What runs a network: our library, and the engines that it is compared with, each called with as little as it can be.

What is counted: ours, a call of `sd_run`; onnxruntime, a run with inputs and outputs bound; LiteRT, `invoke`; OpenVINO,
what its request says its last inference took; ncnn, an extractor that is made, given the input and asked for the
output, its only way; TVM, a call of the compiled function. Nothing is copied or converted in Python.
"""

import importlib.util
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from native_networks import LeftOut, Networks, given_of, processor, sample

from stepdown.native.relax import RelaxModel
from stepdown.runtimes.native import NativeRunner
from stepdown.runtimes.runner import RunnerOptions

OURS = "ours"


@dataclass(frozen=True)
class Engine:
    """A network ready to run: `turn` runs it once and returns the seconds it took, `result` what came out last."""

    name: str
    turn: Callable[[], float]
    result: Callable[[], np.ndarray]


def timed(call: Callable[[], object]) -> Callable[[], float]:
    """Return a turn whose call is timed from here."""

    def turn() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return turn


def ours(networks: Networks, name: str, mode: str, threads: int) -> Engine:
    """Return our library."""
    runner = NativeRunner(networks.library(name, mode), RunnerOptions(threads=threads))
    (spec,) = runner.inputs()
    shape = tuple(size or 1 for size in spec.shape)
    made = runner.run({spec.name: sample(shape)})
    return Engine(OURS, timed(runner._library.run), lambda: next(iter(made.values())))


def onnxruntime(networks: Networks, name: str, mode: str, threads: int) -> Engine:
    """Return onnxruntime; INT8 is its own u8 × s8, since its s8 × s8 is many times slower."""
    import onnxruntime as engine

    model = networks.u8s8(name) if mode == "INT8" else networks.onnx(name)
    options = engine.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = engine.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    bound = session.io_binding()
    for key, array in given_of(model).items():
        bound.bind_cpu_input(key, array)
    bound.bind_output(session.get_outputs()[0].name)
    run, inner = session._sess.run_with_iobinding, bound._iobinding
    return Engine("onnxruntime", timed(lambda: run(inner, None)), lambda: bound.copy_outputs_to_cpu()[0])


def litert(networks: Networks, name: str, mode: str, threads: int) -> Engine:
    """Return LiteRT with XNNPACK, on the file that TensorFlow Lite made or quantised."""
    from ai_edge_litert.interpreter import Interpreter

    made = Interpreter(str(networks.tflite(name, mode)), num_threads=threads)
    made.allocate_tensors()
    (given,), (found, *_) = made.get_input_details(), made.get_output_details()
    values = sample(tuple(given["shape"]))
    scale, zero = given["quantization"]
    if scale:
        values = np.clip(np.round(values / scale) + zero, -128, 127).astype(given["dtype"])
    made.set_tensor(given["index"], values)
    return Engine("LiteRT", timed(made._interpreter.Invoke), lambda: made.get_tensor(found["index"]))


def openvino(networks: Networks, name: str, mode: str, threads: int) -> Engine:
    """Return OpenVINO, in BF16 with its default precision: bf16 where the processor computes in it."""
    import openvino as engine

    model = networks.u8s8(name) if mode == "INT8" else networks.onnx(name)
    options: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    if mode != "BF16":
        options["INFERENCE_PRECISION_HINT"] = "f32"
    request = engine.Core().compile_model(str(model), "CPU", options).create_infer_request()
    (given,) = given_of(model).values()
    request.set_input_tensor(0, engine.Tensor(given))

    def turn() -> float:
        request.infer()
        return float(request.latency) * 1e-3

    return Engine("OpenVINO", turn, lambda: request.get_output_tensor(0).data)


def ncnn(networks: Networks, name: str, mode: str, threads: int) -> Engine:
    """Return ncnn in f32, Winograd and all, on what pnnx makes of the ONNX file."""
    import ncnn as engine

    if mode == "INT8":
        raise LeftOut("its wheel brings no quantiser")
    parameters = networks.kept(f"{name}.ncnn.param", lambda path: _pnnx(networks.onnx(name), path))
    net = engine.Net()
    net.opt.num_threads, net.opt.openmp_blocktime = threads, 0
    for kind in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage", "bf16_packed", "vulkan_compute"):
        setattr(net.opt, f"use_{kind}", False)
    if net.load_param(str(parameters)) or net.load_model(str(parameters.with_suffix(".bin"))):
        raise LeftOut("cannot read what pnnx made of it")
    (given,) = given_of(networks.onnx(name)).values()
    mat = engine.Mat(given[0]).clone()
    held: list[Any] = [None]

    def call() -> None:
        extractor = net.create_extractor()
        extractor.input("in0", mat)
        _, held[0] = extractor.extract("out0")

    return Engine("ncnn", timed(call), lambda: np.array(held[0]))


def _pnnx(model: Path, target: Path) -> None:
    """Translate an ONNX file for ncnn. pnnx is a program in a wheel; its module wants PyTorch, the program does not."""
    found = importlib.util.find_spec("pnnx")
    if found is None or not found.submodule_search_locations:
        raise LeftOut("pnnx is not installed: pip install --no-deps pnnx==20261020")
    program = Path(found.submodule_search_locations[0]) / "pnnx"
    name = target.name.removesuffix(".ncnn.param")
    words = [program, model, "fp16=0", f"ncnnparam={target}", f"ncnnbin={target.with_suffix('.bin')}"]
    rest = {"pnnxparam": ".pnnx.param", "pnnxbin": ".pnnx.bin", "pnnxpy": "_pnnx.py", "pnnxonnx": ".pnnx.onnx"}
    words += [f"{key}={target.parent / name}{end}" for key, end in {**rest, "ncnnpy": "_ncnn.py"}.items()]
    done = subprocess.run([str(word) for word in words], capture_output=True, check=False, cwd=target.parent)
    if done.returncode or not target.exists():
        raise LeftOut(f"pnnx does not translate it (exit code {done.returncode})")


def tvm(networks: Networks, name: str, mode: str, threads: int) -> Engine:
    """Return TVM's default: Relax, as it comes from an ONNX file, compiled for this processor."""
    if mode == "INT8":
        raise LeftOut("it computes quantised models in float")
    if threads > 1:
        raise LeftOut("its default code is serial")
    import tvm as engine

    path = networks.kept(f"{name}_tvm.so", lambda path: _compile(networks.onnx(name), path))
    main = engine.relax.VirtualMachine(engine.runtime.load_module(str(path)), engine.cpu())["main"]
    (given,) = given_of(networks.onnx(name)).values()
    tensor = engine.runtime.tensor(given)
    held: list[Any] = [None]

    def call() -> None:
        held[0] = main(tensor)

    return Engine("TVM's default", timed(call), lambda: held[0].numpy())


def _compile(model: Path, target: Path) -> None:
    """Let TVM compile an ONNX file by its default pipeline."""
    RelaxModel(onnx.load(model), model, processor()).write_library(target)


PEERS = {"onnxruntime": onnxruntime, "LiteRT": litert, "OpenVINO": openvino, "ncnn": ncnn, "TVM's default": tvm}
ONLY = {"BF16": ("OpenVINO",)}
"""The peers of a mode; of all others, all of them."""


def engines(networks: Networks, name: str, mode: str, threads: int) -> tuple[list[Engine], dict[str, str]]:
    """Return ours and the peers that run a network, and of the others by name why they do not.

    A peer whose result in float is another network's is left out.
    """
    first = ours(networks, name, mode, threads)
    found, absent = [first], {}
    for peer in ONLY.get(mode, tuple(PEERS)):
        try:
            made = PEERS[peer](networks, name, mode, threads)
            made.turn()
            if mode == "F32":
                _same(made, first)
            found.append(made)
        except LeftOut as reason:
            absent[peer] = str(reason)
        except ImportError as reason:
            absent[peer] = f"is not installed ({reason.name})"
    return found, absent


def _same(peer: Engine, first: Engine) -> None:
    theirs, mine = (np.asarray(each.result(), np.float64).reshape(-1) for each in (peer, first))
    if theirs.shape != mine.shape or np.abs(theirs - mine).max() > 1e-3 * np.abs(mine).max():
        raise LeftOut("computes something else")
