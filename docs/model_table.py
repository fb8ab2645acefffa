"""Writes the table of models, made from the sheets, between its markers in README.md and docs/models.md.

`python docs/model_table.py` rewrites the files; `--check` only says whether they are up to date (exit code 1 if not).
"""

from __future__ import annotations

import sys
from pathlib import Path

from multibox.spec import ModelSpec
from multibox.zoo import list_models, load_spec

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "models.md")
BEGIN, END = "<!-- models: made by docs/model_table.py -->\n", "<!-- end of models -->"


def row(spec: ModelSpec) -> str:
    """One line of the table; a sheet without names is for the user's own."""
    classes = str(len(spec.labels.names)) if spec.labels.names else "yours"
    priors = f"{spec.check.priors:,}" if spec.check else "-"
    parameters = f"{spec.check.parameters / 1e6:.2f} M" if spec.check else "-"
    published = next((f"{metric.value:g} ({metric.dataset})" for metric in spec.metrics if metric.metric == "AP"), "-")
    licence = spec.weights.licence if spec.weights else "-"
    return (
        f"| `{spec.name}` | {spec.input.width}x{spec.input.height} | {classes} | {priors} | {parameters} | {published} "
        f"| {licence} |"
    )


def table() -> str:
    """The whole table in Markdown."""
    head = "| model | input | classes | priors | parameters | published AP | weights |\n|---|---|---|---|---|---|---|\n"
    return head + "\n".join(row(load_spec(name)) for name in list_models()) + "\n"


def with_table(text: str) -> str:
    """The page with today's table between its markers."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> None:
    """Rewrites or checks the pages."""
    stale = [page for page in PAGES if page.read_text(encoding="utf-8") != with_table(page.read_text(encoding="utf-8"))]
    if "--check" not in sys.argv:
        for page in stale:
            page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
    elif stale:
        sys.exit(f"run python docs/model_table.py: out of date are {', '.join(page.name for page in stale)}")


if __name__ == "__main__":
    main()
