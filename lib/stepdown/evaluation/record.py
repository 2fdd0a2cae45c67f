"""All that an evaluation was made of and found, as JSON: the same command on the same files gives the same bytes."""

import json
import platform
from importlib import metadata
from typing import Any

from stepdown import __version__
from stepdown.data.preprocess import Preprocess
from stepdown.evaluation.job import EvaluationJob
from stepdown.evaluation.summary import figures, reference_figures
from stepdown.evaluation.tally import Tally

_PACKAGES = ("numpy", "pillow", "onnxruntime", "ai-edge-litert", "xdsl")


def record_text(job: EvaluationJob, tally: Tally, settings: dict[str, Any]) -> str:
    """Return the text of the file; `settings` are the flags that choose samples. It holds no times."""
    samples = job.samples
    made: dict[str, Any] = {
        "stepdown": __version__,
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in _PACKAGES},
        "model": job.facts[0].as_plain(),
        "dataset": {
            "source": samples.source,
            "samples": len(samples),
            "synonyms": bool(samples.accepted),
            "files": [samples.names[i] for i in job.indices],
            **settings,
        },
        "figures": figures(tally),
        "tally": tally.to_plain(),
    }
    if job.reference is not None:
        made["reference"] = job.facts[1].as_plain() | reference_figures(tally)
    return json.dumps(made, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def preprocess_text(preprocess: Preprocess) -> str:
    """Return in one line how a photo becomes the input."""
    if not preprocess.is_image:
        return "not an image: float samples as they are"
    size = "x".join(map(str, preprocess.resize_dims))
    ratio = f" {preprocess.keep_ratio_mode}" if preprocess.keep_aspect_ratio else ""
    mean, scale = (",".join(f"{v:.6g}" for v in values) for values in (preprocess.mean, preprocess.scale))
    crop = "x".join(map(str, preprocess.input_size))
    layout = f"{preprocess.pixel_format} {preprocess.channel_format}"
    return f"resize {size} {preprocess.resize_method}{ratio}, crop {crop}, {layout}, (x - {mean}) * {scale}"
