"""Turn photos into a network's input tensors (prepare_input.py)."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stepdown.cli.preprocess_flags import add_preprocess_flags, has_preprocess_flags, preprocess_from_args, shapes
from stepdown.cli.tool import Parser
from stepdown.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from stepdown.data.preprocess import Preprocess

EXAMPLES = """\
examples:
  prepare_input.py --input cat.jpg --input_shapes [[1,3,224,224]] --resize_dims 256,256 \\
      --mean 123.675,116.28,103.53 --scale 0.0171,0.0175,0.0174 --pixel_format rgb \\
      --output mobilenet_v2_in_f32.npz --contact_sheet seen.png
  prepare_input.py --input *.jpg --model mobilenet_v2.mlir --output_dir inputs
"""


def parser() -> argparse.ArgumentParser:
    """Return the tool's parser."""
    tool = Parser(prog="prepare_input.py", description="Turn photos into input tensors.", epilog=EXAMPLES)
    tool.add_argument("--input", nargs="+", required=True, metavar="FILE", help="photos")
    source = tool.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", metavar="FILE", help="a model file that stores its preprocessing")
    source.add_argument(
        "--input_shapes", "--input_shape", type=shapes, metavar="SHAPE", help="the input's shape: [[1,3,224,224]]"
    )
    tool.add_argument("--name", help="the input's name (default: the model's, or 'input')")
    target = tool.add_mutually_exclusive_group(required=True)
    target.add_argument("--output", metavar="X.npz", help="the file to write: one photo, or as many as the batch")
    target.add_argument("--output_dir", metavar="DIR", help="write NAME.npz for each photo into this folder")
    tool.add_argument("--contact_sheet", metavar="X.png", help="also draw what the network will see")
    tool.add_argument("--json", action="store_true", help="print the result as JSON")
    add_preprocess_flags(tool)
    return tool


def run(args: argparse.Namespace) -> int:
    """Write the tensors; raises InputError."""
    from stepdown.files.npz import write_npz

    name, preprocess = _from_model(args) if args.model else _from_flags(args)
    batches = _batches(args, preprocess.input_shape[0])
    pictures: list[tuple[str, np.ndarray]] = []
    written = []
    for output, photos in batches.items():
        tensor = _stacked(preprocess, photos)
        pictures += [(Path(p).name, preprocess.to_pixels(x[None])) for p, x in zip(photos, tensor, strict=True)]
        write_npz(output, {name: tensor})
        written.append(_row(output, photos, name, tensor))
        print(f"{len(written)} of {len(batches)}: {output}", file=sys.stderr)
    if args.contact_sheet:
        _draw(args.contact_sheet, pictures)
    _report(args, written)
    return 0


def _from_flags(args: argparse.Namespace) -> "tuple[str, Preprocess]":
    if len(args.input_shapes) != 1:
        raise InputError(f"{len(args.input_shapes)} shapes", "--input_shapes", "give that of the one image input")
    preprocess = preprocess_from_args(args, args.input_shapes[0])
    if not preprocess.is_image:
        raise InputError(f"{list(args.input_shapes[0])} is not an image's shape", "--input_shapes")
    return args.name or "input", preprocess


def _from_model(args: argparse.Namespace) -> "tuple[str, Preprocess]":
    from stepdown.data.preprocess import from_model

    if has_preprocess_flags(args):
        raise InputError("preprocessing flags would contradict the model's", "--model", "leave them out")
    inputs = from_model(args.model)
    photos = {name: p for name, p in inputs.items() if p.is_image and args.name in (None, name)}
    if len(photos) != 1:
        said = "says of none of its inputs" if not photos else "says of several inputs"
        raise InputError(
            f"the model {said} how a photo becomes it", args.model, f"its inputs: {', '.join(inputs)}; see --name"
        )
    return next(iter(photos.items()))


def _batches(args: argparse.Namespace, batch: int) -> dict[str, list[str]]:
    """Return, by output file, the photos stacked in it.

    Raises:
        InputError: the photos do not fill the batch, or two would be written to one file.
    """
    photos: list[str] = args.input
    if args.output:
        if len(photos) != batch:
            raise InputError(
                f"the shape's batch takes {batch} photo{'s' * (batch > 1)}, not {len(photos)}",
                "--input",
                "or give --output_dir for a file each" if batch == 1 else "give as many as the batch",
            )
        return {args.output: photos}
    if batch != 1:
        raise InputError(
            f"one photo does not fill a batch of {batch}", "--output_dir", "give --output and all its photos"
        )
    outputs = {str(Path(args.output_dir, Path(photo).stem + ".npz")): [photo] for photo in photos}
    if len(outputs) < len(photos):
        raise InputError("two photos have the same name", "--input", "write them to different folders")
    Path(args.output_dir).mkdir(parents=True, exist_ok=True)
    return outputs


def _stacked(preprocess: "Preprocess", photos: list[str]) -> "np.ndarray":
    import numpy as np

    return np.concatenate([preprocess.preprocess_file(photo) for photo in photos])


def _draw(path: str, pictures: "list[tuple[str, np.ndarray]]") -> None:
    from stepdown.data.contact_sheet import write_contact_sheet

    write_contact_sheet(path, pictures)


def _row(output: str, photos: list[str], name: str, tensor: "np.ndarray") -> dict[str, Any]:
    return {
        "output": output,
        "photos": photos,
        "tensor": name,
        "shape": list(tensor.shape),
        "min": float(tensor.min()),
        "max": float(tensor.max()),
        "mean": round(float(tensor.mean(dtype="float64")), 6),
    }


def _report(args: argparse.Namespace, written: list[dict[str, Any]]) -> None:
    if args.json:
        print(json.dumps({"written": written, "contact_sheet": args.contact_sheet}, indent=1))
        return
    for row in written:
        print(
            f"{row['output']}: {row['tensor']} float32{row['shape']}"
            f" min {row['min']:.6f} max {row['max']:.6f} mean {row['mean']:.6f}"
        )
    sheet = f" and {args.contact_sheet}" if args.contact_sheet else ""
    print(f"wrote {len(written)} file{'s' * (len(written) > 1)}{sheet}")
    model = args.model or "MODEL"
    print(f"next: model_runner.py --model {model} --input {written[0]['output']} --output outputs.npz")
