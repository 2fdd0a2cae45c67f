"""with_weights.py IN.mlir FOLDER: copies the module to FOLDER/in.mlir, with seeded weights w.npz for every top.Weight.

The module says `module.weight_file = "w.npz"`. Values lie in [0.5, 2], so that they can be divisors and variances.
"""

import re
import shutil
import sys
from pathlib import Path

import numpy as np

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
shutil.copyfile(source, folder / "in.mlir")
rng = np.random.default_rng(0)
weights = re.findall(r'"top\.Weight"\(\) \{key = "([^"]*)"\} : \(\) -> tensor<((?:\d+x)*)f32>', source.read_text())
arrays = {key: rng.uniform(0.5, 2, [int(n) for n in shape.split("x")[:-1]]) for key, shape in weights}
np.savez(folder / "w.npz", **{key: array.astype(np.float32) for key, array in arrays.items()})
