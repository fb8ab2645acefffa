"""What `hubconf.py` hands to torch.hub: one function for every architecture of the sheets, which makes its network."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from multibox.errors import ModelError, UsageError, did_you_mean
from multibox.network.model import SSD
from multibox.spec import ModelSpec
from multibox.weights.source import Loaded
from multibox.zoo import is_weights_file, list_models, load_spec
from multibox.zoo.create import create_model
from multibox.zoo.models import assemble, find_weights, spec_of
from multibox.zoo.transfer import transfer

_DOC = """The network {architecture}: normalised images [n, 3, h, w] -> (logits, offsets) of every prior.

`weights` is the tag of a sheet ({tags}), a sheet's full name or alias, or a file of ours
or of any codebase that is known. Published weights are downloaded once, into the cache.

`names` are your classes. Without `weights` the network is freshly initialised for them (`pretrained_backbone=True`
starts its backbone from ImageNet weights). With `weights` all that fits is taken over, the rows of the classifier by
class name; a file that does not hold the names of its classes is told them.

`spec` of the network holds its classes, input, priors and thresholds. To find objects in pictures take the entry
`detector` with a sheet's full name, such as "ssd300_vgg16.torchvision_coco", or with a file.
"""

_WIDTH = 120


def entries() -> dict[str, Callable[..., SSD]]:
    """A function `(weights=None, names=None, *, pretrained_backbone=False)` for every architecture, by its name."""
    return {architecture: _entry(architecture) for architecture in _tags()}


def make_network(
    architecture: str,
    weights: str | Path | None = None,
    names: Sequence[str] | None = None,
    *,
    pretrained_backbone: bool = False,
) -> SSD:
    """The network of that architecture, as `_DOC` says; in evaluation mode where it is trained.

    Raises `UsageError` where neither weights nor names are given, and `ModelError` for weights that cannot be had or
    belong to another architecture.
    """
    if weights:
        where = _sheet_or_file(architecture, weights)
        return _trained(architecture, where, tuple(names or ()), pretrained_backbone)
    if not names:
        raise UsageError(
            f"{architecture} needs weights ({_choice(architecture)}, or a file), or names, those of your classes"
        )
    return create_model(_own_sheet(architecture), names=names, pretrained_backbone=pretrained_backbone)


def _trained(architecture: str, where: str | Path, names: tuple[str, ...], pretrained_backbone: bool) -> SSD:
    """The trained network: with the classes of its weights, with these names for them, or starting over for others."""
    loaded = find_weights(where)
    spec = spec_of(loaded)
    _check_architecture(spec, architecture, where)
    if not names or names == spec.labels.names:
        return assemble(loaded, str(where))
    if spec.labels.names == tuple(f"class {number + 1}" for number in range(len(names))):
        return assemble(Loaded(spec=spec.with_names(names), state=loaded.state), str(where))
    model = create_model(spec, names=names, pretrained_backbone=pretrained_backbone)
    transfer(model, loaded)
    return model


def _sheet_or_file(architecture: str, weights: str | Path) -> str | Path:
    """The file, or the full name of the sheet, that `weights` means."""
    if str(weights) in _tags()[architecture]:
        return f"{architecture}.{weights}"
    if is_weights_file(weights):
        return weights
    try:
        spec = load_spec(weights)
    except ModelError:
        near = did_you_mean(str(weights), _tags()[architecture])
        raise ModelError(
            f"{architecture} has no weights '{weights}'{near or f'; there are {_choice(architecture)}'}"
        ) from None
    _check_architecture(spec, architecture, weights)
    return weights


def _check_architecture(spec: ModelSpec, architecture: str, where: str | Path) -> None:
    """Raises `ModelError` for the weights of another network."""
    if spec.architecture != architecture:
        raise ModelError(
            f"{where}: belongs to '{spec.name}'; take the entry '{spec.architecture}', not '{architecture}'"
        )


def _own_sheet(architecture: str) -> ModelSpec:
    """The sheet for one's own names; where there is none, the first of that architecture."""
    tags = _tags()[architecture]
    return load_spec(architecture if "" in tags else f"{architecture}.{tags[0]}")


def _entry(architecture: str) -> Callable[..., SSD]:
    """The function of one architecture, with what `torch.hub.help` prints."""

    def entry(
        weights: str | Path | None = None, names: Sequence[str] | None = None, *, pretrained_backbone: bool = False
    ) -> SSD:
        return make_network(architecture, weights, names, pretrained_backbone=pretrained_backbone)

    entry.__name__ = entry.__qualname__ = architecture
    text = _DOC.format(architecture=architecture, tags=_choice(architecture))
    entry.__doc__ = "\n\n".join(textwrap.fill(part, _WIDTH) for part in text.strip().split("\n\n"))
    return entry


def _tags() -> dict[str, list[str]]:
    """Every architecture with the tags of its sheets; the empty one is that of the sheet for one's own names."""
    found: dict[str, list[str]] = {}
    for name in list_models():
        architecture, _, tag = name.partition(".")
        found.setdefault(architecture, []).append(tag)
    return found


def _choice(architecture: str) -> str:
    """The tags in words."""
    return ", ".join(filter(None, _tags()[architecture])) or "none so far"
