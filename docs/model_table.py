"""Writes the tables of models, made from the sheets: the families into README.md, every sheet into docs/models.md.

`python docs/model_table.py` rewrites the files; `--check` only says whether they are up to date (exit code 1 if not).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

from multibox.cli.model_table import TITLES, cells
from multibox.spec import ModelSpec
from multibox.zoo import list_models, load_spec

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- models: made by docs/model_table.py -->\n", "<!-- end of models -->"
CODEBASES = {
    "amdegroot": "ssd.pytorch",
    "caffe": "Caffe",
    "chuanqi": "MobileNet-SSD",
    "gluoncv": "GluonCV",
    "lufficc": "lufficc/SSD",
    "mindcv": "MindCV",
    "mlperf": "MLPerf",
    "mmdet": "MMDetection",
    "mobilenext": "MobileNeXt",
    "nvidia": "NVIDIA",
    "qfgaohao": "pytorch-ssd",
    "tf": "TensorFlow",
    "torchvision": "torchvision",
    "ultra_light_face": "Ultra-Light-Face",
}
"""Beginning of a tag -> what the codebase is called."""


def family(spec: ModelSpec) -> str:
    """The architecture without its input size: `ssd300_vgg16` -> `SSD vgg16`."""
    found = re.fullmatch(r"(ssd|ssdlite)[0-9x]+_(.+)", spec.architecture)
    return f"{'SSDLite' if found[1] == 'ssdlite' else 'SSD'} {found[2]}" if found else spec.architecture


def of_families(specs: list[ModelSpec]) -> str:
    """A line per family: inputs, codebases, the range of published accuracy, how many weights are published."""
    lines = [_line("network", "input", "sheets from", "published", "weights"), "|---|---|---|---|---|"]
    for name, group in groupby(sorted(specs, key=family), key=family):
        members = list(group)
        inputs = _unique(f"{spec.input.width}x{spec.input.height}" for spec in members)
        found = _unique(next((CODEBASES[key] for key in CODEBASES if spec.tag.startswith(key)), "") for spec in members)
        count = sum(spec.weights is not None for spec in members)
        lines.append(_line(name, ", ".join(inputs), ", ".join(found) or "-", _published(members), str(count or "-")))
    return "\n".join(lines)


def of_sheets(specs: list[ModelSpec]) -> str:
    """A line per sheet, with the columns of `multibox models list`."""
    lines = [_line("model", *TITLES), "|---" * (1 + len(TITLES)) + "|"]
    for spec in specs:
        *facts, _ = cells(spec)
        lines.append(_line(f"`{spec.name}`", *facts, f"[file]({spec.weights.url})" if spec.weights else "-"))
    return "\n".join(lines)


def _published(specs: list[ModelSpec]) -> str:
    """`AP 0.251 to 0.295, VOC07 mAP 0.765`: the first metric of every sheet."""
    values: dict[str, list[float]] = {}
    for spec in specs:
        for metric in spec.metrics[:1]:
            values.setdefault(metric.metric, []).append(metric.value)
    spans = {name: (min(found), max(found)) for name, found in sorted(values.items())}
    return (
        ", ".join(
            f"{name} {low:.3f}" + (f" to {high:.3f}" if high > low else "") for name, (low, high) in spans.items()
        )
        or "-"
    )


def _unique(words: Iterable[str]) -> list[str]:
    """Without doubles and empty words, in the order of the sheets."""
    return list(dict.fromkeys(filter(None, words)))


def _line(*words: str) -> str:
    """A row in Markdown."""
    return f"| {' | '.join(words)} |"


PAGES: dict[Path, Callable[[list[ModelSpec]], str]] = {
    ROOT / "README.md": of_families,
    ROOT / "docs" / "models.md": of_sheets,
}


def with_table(text: str, table: str) -> str:
    """The page with today's table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table}\n\n{END}{after}"


def main() -> None:
    """Rewrites or checks the pages."""
    specs = [load_spec(name) for name in list_models()]
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    todays = {page: with_table(texts[page], make(specs)) for page, make in PAGES.items()}
    stale = [page for page in PAGES if texts[page] != todays[page]]
    if "--check" not in sys.argv:
        for page in stale:
            page.write_text(todays[page], encoding="utf-8")
    elif stale:
        sys.exit(f"run python docs/model_table.py: out of date are {', '.join(page.name for page in stale)}")


if __name__ == "__main__":
    main()
