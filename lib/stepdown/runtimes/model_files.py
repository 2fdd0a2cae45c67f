"""Which files beside a model belong to it."""

from pathlib import Path


def files_beside(path: str) -> list[str]:
    """Return the paths, relative to the model's folder, of what it reads besides itself: its weights.

    Raises:
        InputError: the model cannot be read.
    """
    kind = Path(path).suffix
    if kind == ".mlir":
        from stepdown.dialects.program import read_program

        weights = read_program(path)["weight_file"]
        return [Path(weights).name] if weights else []
    if kind == ".onnx":
        return _external_files(path)
    return []


def _external_files(path: str) -> list[str]:
    import onnx
    from onnx import external_data_helper as external

    model = onnx.load(path, load_external_data=False)
    stored = (tensor for tensor in external._get_all_tensors(model) if external.uses_external_data(tensor))
    return list(dict.fromkeys(external.ExternalDataInfo(tensor).location for tensor in stored))
