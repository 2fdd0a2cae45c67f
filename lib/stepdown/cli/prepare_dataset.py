"""Choose sample files of a folder and list them (prepare_dataset.py)."""

import argparse
import json
import shutil
import sys
from pathlib import Path

from stepdown.cli.tool import Parser
from stepdown.errors import InputError

EXAMPLES = """\
examples:
  prepare_dataset.py --dataset /dataset/imagenet/val --input_num 100 -o image_list.txt
  prepare_dataset.py --dataset /dataset/imagenet/val --input_num 100 --copy_to dataset_cali \\
      -o dataset_cali/image_list.txt
"""


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(
        prog="prepare_dataset.py", description="Choose files of a folder at random and list them.", epilog=EXAMPLES
    )
    tool.add_argument("--dataset", required=True, metavar="DIR", help="folder, searched with those in it")
    tool.add_argument("--input_num", type=int, default=0, metavar="N", help="how many (default: all)")
    tool.add_argument("--seed", type=int, default=0, help="another seed, another choice (default 0)")
    tool.add_argument("-o", "--output", required=True, metavar="LIST", help="the list to write, one file a line")
    tool.add_argument("--copy_to", metavar="DIR", help="copy the files there, and list the copies")
    tool.add_argument("--json", action="store_true", help="print the result as JSON")
    return tool


def run(args: argparse.Namespace) -> int:
    """Write the list; raises InputError."""
    from stepdown.data.dataset import choose, scan_folder
    from stepdown.files.atomic import write_text

    if args.input_num < 0:
        raise InputError(f"{args.input_num} is negative", "--input_num", "give how many files, or 0 for all")
    found = scan_folder(args.dataset)
    chosen = choose(found, args.input_num, args.seed)
    if len(chosen) < args.input_num:
        print(f"{args.dataset} holds only {len(found)} files, not {args.input_num}", file=sys.stderr)
    listed = _copied(chosen, Path(args.dataset), Path(args.copy_to)) if args.copy_to else chosen
    head = f"# {len(chosen)} of {len(found)} files of {args.dataset}, seed {args.seed}"
    write_text(args.output, "\n".join([head, *map(str, listed)]) + "\n")
    _report(args, [str(file) for file in listed], len(found))
    return 0


def _copied(files: list[Path], source: Path, target: Path) -> list[Path]:
    """Copy the files, keeping the folders below `source`; returns the copies."""
    if target.resolve().is_relative_to(source.resolve()):
        raise InputError("lies inside the dataset, which the copies would then be part of", str(target))
    copies = [target / file.relative_to(source) for file in files]
    for done, (file, copy) in enumerate(zip(files, copies, strict=True), 1):
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        if done % 1000 == 0 or done == len(files):
            print(f"copied {done} of {len(files)}", file=sys.stderr)
    return copies


def _report(args: argparse.Namespace, listed: list[str], found: int) -> None:
    if args.json:
        print(json.dumps({"list": args.output, "found": found, "files": listed}, indent=1))
        return
    print(f"wrote {args.output}: {len(listed)} of {found} files, seed {args.seed}")
    print(
        f"next: run_calibration.py MODEL.mlir --data_list {args.output} --input_num {len(listed)} -o MODEL_cali_table"
    )
