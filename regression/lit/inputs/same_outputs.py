"""same_outputs.py A.mlir B.mlir: fails unless both give the same outputs, by name, within 1e-5."""

import sys

import numpy as np

from stepdown.runtimes.mlir import MlirRunner

first, second = (MlirRunner(path) for path in sys.argv[1:3])
rng = np.random.default_rng(1)
inputs = {spec.name: rng.normal(size=spec.shape).astype(np.float32) for spec in first.inputs()}
wanted, found = first.run(inputs), second.run(inputs)
assert list(wanted) == list(found), f"{list(wanted)} became {list(found)}"
for name, array in wanted.items():
    np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5, err_msg=name)
print(f"same outputs: {' '.join(found)}")
