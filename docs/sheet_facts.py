"""Prints the [check] table of sheets, counted on the built models: `python docs/sheet_facts.py NAME_OR_FILE.toml ...`.

Priors and parameters are facts to compare with what the codebase publishes before they are written into a sheet.
"""

from __future__ import annotations

import sys

from multibox.network.build import build_model
from multibox.network.cost import count_macs
from multibox.zoo import load_spec


def facts(name: str) -> str:
    """The table of one sheet; a sheet without names is counted with one class."""
    spec = load_spec(name)
    model = build_model(spec if spec.labels.names else spec.with_names(("thing",)))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"[check]\npriors = {len(model.priors)}\nparameters = {parameters}\nmacs = {count_macs(model)}\n"


def main() -> None:
    """Every sheet that is named, in turn."""
    for name in sys.argv[1:]:
        print(f"# {name}\n{facts(name)}")


if __name__ == "__main__":
    main()
