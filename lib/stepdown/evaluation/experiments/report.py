"""The report of experiments: Markdown with pictures beside it, and one HTML file with everything in it."""

import base64
import hashlib
import html
import json
import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from stepdown import __version__
from stepdown.compare.page import STYLE
from stepdown.data.labels import read_labels
from stepdown.evaluation.experiments.charts import Bar, Chart
from stepdown.evaluation.experiments.columns import Column, columns_of
from stepdown.evaluation.experiments.plan import OURS, Settings
from stepdown.evaluation.experiments.session import Result
from stepdown.evaluation.matrix_picture import write_matrix_picture
from stepdown.evaluation.samples import IMAGENET_CLASSES
from stepdown.files.atomic import write_text

_PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert", "apache-tvm")
_MOST_NOTES = 8
_STYLE = """
td:first-child, td:last-child { min-width: 0; white-space: nowrap; }
h2 { margin-top: 28px; } figure { margin: 0 0 20px; }
"""


@dataclass(frozen=True)
class Picture:
    """A PNG beside the report, and what is said under it."""

    file: str
    caption: str


def write_reports(folder: Path, results: Sequence[Result], settings: Settings) -> list[str]:
    """Write report.md, report.html and their pictures; return the names of all files."""
    pictures = [*_charts(folder, results), *_matrices(folder, results, settings)]
    columns = columns_of(results)
    write_text(folder / "report.md", "\n".join(_markdown(results, columns, pictures, settings)) + "\n")
    write_text(folder / "report.html", _page(folder, results, columns, pictures, settings))
    return ["report.md", "report.html", *(picture.file for picture in pictures)]


def table_lines(results: Sequence[Result], columns: Sequence[Column]) -> list[str]:
    """Return the table in Markdown."""
    rows = [[column.text(result).replace("|", "\\|") for column in columns] for result in results]
    rule = ["---:" if column.is_number else "---" for column in columns]
    return ["| " + " | ".join(cells) + " |" for cells in ([c.name for c in columns], rule, *rows)]


# --- what is told


def _facts(settings: Settings) -> list[str]:
    """Return what the figures depend on beside the rows."""
    known = [name for name in _PACKAGES if _version(name)]
    lines = [
        f"{_processor()}, {os.cpu_count()} logical processors; {platform.system()} {platform.machine()}",
        f"stepdown {__version__}, Python {platform.python_version()}, "
        + ", ".join(f"{name} {_version(name)}" for name in known),
        f"Latency: median and 90th percentile of {settings.runs} runs after {settings.warmup} for warm-up (fewer where "
        f"they take more than {settings.seconds:g} s), one input at a time, the call of the engine alone.",
    ]
    if settings.dataset:
        count = f"{settings.count} samples" if settings.count else "all samples"
        lines.append(
            f"Quality: {count} of {Path(settings.dataset).name}. Precision is the mean over the classes that were "
            "predicted, recall over those that have samples; the G-mean is the geometric mean of the recalls, and 0 "
            "where a class has no hit."
        )
    return lines


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(named, platform.processor() or "unknown processor")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def notes_of(results: Sequence[Result]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield for each network in each layout what the compiler says: the rows that share it, and its lines."""
    shared: dict[str, list[Result]] = {}
    for result in results:
        if notes := result.found.get("notes"):
            same = [result.row.model, result.row.mode.startswith("INT8"), notes["reorders"], notes["fallbacks"]]
            shared.setdefault(json.dumps([*same, notes["effort"]["layout"]]), []).append(result)
    for group in shared.values():
        yield [result.row.title for result in group], _note_lines(group[0])


def _note_lines(result: Result) -> list[str]:
    notes = result.found["notes"]
    reorders, layout = notes["reorders"], notes["effort"]["layout"]
    lines = [f"layout {layout}: {len(reorders)} tensors reordered, {sum(r['bytes'] for r in reorders):,} bytes"]
    lines += [f"'{r['tensor']}' from {r['before']} to {r['after']}, {r['bytes']:,} bytes" for r in reorders]
    ops = Counter((f["op"], f["order"]) for f in notes["fallbacks"])
    lines += [f"{n} × {op} without code in this layout: in {order}" for (op, order), n in ops.items()]
    rest = len(lines) - _MOST_NOTES
    return [*lines[:_MOST_NOTES], *([f"and {rest} more, in results.json"] if rest > 0 else [])]


# --- pictures


def _charts(folder: Path, results: Sequence[Result]) -> Iterator[Picture]:
    done = [result for result in results if result.is_done]
    for model in dict.fromkeys(result.row.model for result in done):
        own = [result for result in done if result.row.model == model]
        times = [result.found["latency"] for result in own]
        bars = [
            Bar(_short(r), t["median_ms"], t["p90_ms"], f"{t['median_ms']:.3g} ms", r.row.engine != OURS)
            for r, t in zip(own, times, strict=True)
        ]
        legend = "median of a run in ms; the line is the 90th percentile; orange: other engines"
        yield _drawn(folder, f"latency_{model}.png", Chart(f"Latency of {model}", legend, bars))
        sizes = [(r, 1e-6 * r.found["artefact_bytes"], 1e-6 * r.found["source_bytes"]) for r in own]
        bars = [Bar(_short(r), size, source, f"{size:.3g} MB", r.row.engine != OURS) for r, size, source in sizes]
        legend = "file in MB; the line is its source model; orange: other engines"
        yield _drawn(folder, f"size_{model}.png", Chart(f"Size of {model}", legend, bars))
        if scored := [r for r in own if "quality" in r.found]:
            percent = [(r, 100 * r.found["quality"]["accuracy"]) for r in scored]
            bars = [Bar(_short(r), share, None, f"{share:.2f} %", r.row.engine != OURS) for r, share in percent]
            legend = "samples judged right, %; orange: other engines"
            yield _drawn(folder, f"accuracy_{model}.png", Chart(f"Accuracy of {model}", legend, bars))


def _drawn(folder: Path, file: str, chart: Chart) -> Picture:
    chart.save(folder / file)
    return Picture(file, chart.heading)


def _short(result: Result) -> str:
    """Return a row's title without the network's name."""
    return result.row.title.partition(", ")[2]


def _matrices(folder: Path, results: Sequence[Result], settings: Settings) -> Iterator[Picture]:
    """Yield a confusion matrix a row; rows that judge all samples alike share one."""
    shared: dict[str, list[Result]] = {}
    for result in results:
        if "confusion" in result.found:
            shared.setdefault(json.dumps([result.row.model, result.found["confusion"]]), []).append(result)
    for group in shared.values():
        pairs = Counter({(truth, predicted): n for truth, predicted, n in group[0].found["confusion"]})
        names = _class_names(max(label for pair in pairs for label in pair), settings.label_offset)
        digest = hashlib.sha256(json.dumps(group[0].found["confusion"]).encode()).hexdigest()[:8]
        file = f"confusion_{group[0].row.model}_{digest}.png"

        def named(label: int, names: list[str] = names) -> str:
            return names[label] if label < len(names) else str(label)

        write_matrix_picture(folder / file, pairs, named)
        yield Picture(file, "Confusion: " + "; ".join(result.row.title for result in group))


def _class_names(most: int, offset: int) -> list[str]:
    """Return ImageNet's names where labels are of its size, else none."""
    few = most < IMAGENET_CLASSES // 10
    return [] if few else ["background"] * offset + read_labels()


# --- files


def _markdown(
    results: Sequence[Result], columns: Sequence[Column], pictures: Sequence[Picture], settings: Settings
) -> Iterator[str]:
    yield from ("# Experiments", "", *(line for fact in _facts(settings) for line in (fact, "")))
    yield from ("## Results", "", *table_lines(results, columns), "")
    if absent := [result for result in results if not result.is_done]:
        yield from ("## Not measured", "", *(f"- {r.row.title}: {r.found['message']}" for r in absent), "")
    if noted := list(notes_of(results)):
        yield from ("## What the compiler says of layouts", "")
        for titles, lines in noted:
            yield from (f"- {'; '.join(titles)}", *(f"  - {line}" for line in lines))
        yield ""
    for picture in pictures:
        yield from (f"![{picture.caption}]({picture.file})", "")


def _page(
    folder: Path, results: Sequence[Result], columns: Sequence[Column], pictures: Sequence[Picture], settings: Settings
) -> str:
    body = ["<header><h1>Experiments</h1></header>", *(f"<p>{_escape(fact)}</p>" for fact in _facts(settings))]
    body += ["<h2>Results</h2>", *_html_table(results, columns)]
    if absent := [result for result in results if not result.is_done]:
        items = "".join(f"<li>{_escape(r.row.title)}: {_escape(r.found['message'])}</li>" for r in absent)
        body.append(f"<h2>Not measured</h2><ul>{items}</ul>")
    if noted := list(notes_of(results)):
        body.append("<h2>What the compiler says of layouts</h2>")
        for titles, lines in noted:
            items = "".join(f"<li>{_escape(line)}</li>" for line in lines)
            body.append(f"<details><summary>{_escape('; '.join(titles))}</summary><ul>{items}</ul></details>")
    body.append("<h2>Pictures</h2>")
    for picture in pictures:
        raw = base64.b64encode((folder / picture.file).read_bytes()).decode()
        text = _escape(picture.caption)
        source = f'<img alt="{text}" src="data:image/png;base64,{raw}" style="max-width:100%">'
        body.append(f"<figure>{source}<figcaption>{text}</figcaption></figure>")
    head = f'<meta charset="utf-8"><title>Experiments</title><style>{STYLE}{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{chr(10).join(body)}</body></html>\n'


def _html_table(results: Sequence[Result], columns: Sequence[Column]) -> Iterator[str]:
    heads = "".join(f'<th class="{"n" * c.is_number}" style="padding:6px 10px">{_escape(c.name)}</th>' for c in columns)
    yield f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>'
    for result in results:
        cells = "".join(f'<td class="{"n" * c.is_number}">{_escape(c.text(result))}</td>' for c in columns)
        yield f'<tr class="{"bad" * (result.found["status"] == "failed")}">{cells}</tr>'
    yield "</tbody></table></div>"


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
