"""NNCF as a peer: it wants other versions of our packages, so it runs on the Python of an environment of its own.

python3 -m venv nncf && nncf/bin/pip install nncf==3.4.0 openvino onnx     # then --nncf_python nncf/bin/python
"""

import json
import subprocess
import sys
from pathlib import Path

# Arguments: float model, samples (an npy file of one input's, or a folder of npz files), target, settings as JSON.
SCRIPT = """
import json, pathlib, sys
import nncf, numpy, onnx
source, given, target, settings = sys.argv[1:]
model, given, settings = onnx.load(source), pathlib.Path(given), json.loads(sys.argv[4])
for key, kind in (("preset", nncf.QuantizationPreset), ("model_type", nncf.ModelType)):
    if key in settings:
        settings[key] = kind(settings[key])
if given.is_dir():
    files = sorted(given.glob("*.npz"))
    samples = nncf.Dataset(files, lambda file: dict(numpy.load(file)))
else:
    files, name = numpy.load(given, mmap_mode="r"), model.graph.input[0].name
    samples = nncf.Dataset(files, lambda row: {name: numpy.array(row)})
onnx.save(nncf.quantize(model, samples, subset_size=len(files), **settings), target)
"""


def nncf_command(python: Path, model: Path, samples: Path, target: Path, **settings: object) -> list[object]:
    """Return the command that writes the quantised model; `settings` are those of nncf.quantize."""
    return [python, "-c", SCRIPT, model, samples, target, json.dumps(settings)]


def run_nncf(python: Path, model: Path, samples: Path, target: Path, **settings: object) -> Path:
    """Quantise a model; return where it was written."""
    command = [str(part) for part in nncf_command(python, model, samples, target, **settings)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"NNCF failed: {done.stderr.strip().splitlines()[-1]}")
    return target
