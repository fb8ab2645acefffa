"""Another codebase's checkpoint -> a file of our own that describes itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from multibox.errors import UsageError
from multibox.spec import ModelSpec
from multibox.weights import checkpoint
from multibox.weights.source import Loaded
from multibox.zoo import load_spec
from multibox.zoo.models import assemble, find_weights, spec_of

_BACKGROUND = ("background", "__background__")
"""What lists of names call column 0, in lower case."""


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was read, and the file that was written."""

    file: Path
    sheet: str | None
    """Full name of the sheet that was recognised; none: the file described itself."""
    spec: ModelSpec
    """The sheet's, with the classes of the file."""
    tensors: int
    parameters: int


def convert(
    path: str | Path, out: str | Path, sheet: str | Path | None = None, names: Sequence[str] | None = None
) -> Conversion:
    """Writes the weights of `path`, in any form that `multibox.load` takes, to `out`, a .safetensors that holds the
    spec and the class names too.

    `sheet` (a name, an alias or the path of a .toml) stands in place of the one that is recognised; `names` are the
    classes in the file's order, for a file that does not hold them (a leading `background` is left out). Raises
    `ModelError` for a file that cannot be read or that does not fit the sheet, naming the first tensor that does not,
    and `UsageError` for an `out` that is no .safetensors or the input itself, and for names of another number.
    """
    path, out = Path(path), Path(out)
    if out.suffix.lower() != ".safetensors":
        raise UsageError(f"{out}: weights are written as .safetensors ('multibox export' makes files of other kinds)")
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError(f"{out}: is the file to convert; give the result another name")
    loaded = find_weights(path)
    if sheet is not None:
        loaded = _taken_as(loaded, sheet)
    model = assemble(loaded, str(path))
    spec = model.spec if names is None else _named(model.spec, tuple(names))
    checkpoint.save(out, model.state_dict(), spec, metrics=loaded.metrics, training=loaded.training)
    return Conversion(
        file=out,
        sheet=load_spec(loaded.sheet).name if loaded.sheet else None,
        spec=spec,
        tensors=len(loaded.state),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def _taken_as(loaded: Loaded, sheet: str | Path) -> Loaded:
    """The tensors as weights of this sheet; names stay, and what the file changes in the sheet that it belongs to."""
    asked = load_spec(sheet)
    names = loaded.names if asked.labels.names and loaded.spec is None else spec_of(loaded).labels.names
    changes = loaded.changes if loaded.sheet == asked.name else {}
    return replace(loaded, spec=None, sheet=str(sheet), names=names, changes=changes)


def _named(spec: ModelSpec, names: tuple[str, ...]) -> ModelSpec:
    """The spec with other names for its classes. Raises `UsageError`."""
    count = len(spec.labels.names)
    if len(names) == count + 1 and names[0].lower() in _BACKGROUND:
        names = names[1:]
    if len(names) != count:
        raise UsageError(f"{len(names)} names for {count} classes; give one per class, in the file's order")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"the name '{twice}' is given twice")
    return spec if names == spec.labels.names else spec.with_names(names)
