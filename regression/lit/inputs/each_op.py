"""each_op.py FILE: puts each op of FILE (one a line) into a module by itself and prints what tpuc-opt says of it.

One process for all, since starting one takes longer than the check.
"""

import sys
import tempfile
from pathlib import Path

from stepdown.errors import InputError
from stepdown.opt_main import read

MODULE = """module @m {{
  func.func @main(%x: tensor<1x4xf32>) -> tensor<1x4xf32> {{
    %0 = {op}
    func.return %x : tensor<1x4xf32>
  }}
}}
"""

for line in Path(sys.argv[1]).read_text().splitlines():
    if line.startswith('"'):
        with tempfile.NamedTemporaryFile("w", suffix=".mlir") as file:
            file.write(MODULE.format(op=line))
            file.flush()
            try:
                read(file.name)
                print(f"nothing wrong with {line}")
            except InputError as error:
                print(error)
