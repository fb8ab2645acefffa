"""A trained network for inputs of another size, with the weights that it has."""

from __future__ import annotations

from dataclasses import replace

from multibox.errors import ModelError
from multibox.network.build import build_model
from multibox.network.model import SSD


def at_size(model: SSD, size: tuple[int, int]) -> SSD:
    """The same layers and weights for inputs of `size` (height, width), in evaluation mode; the same object where that
    is the size it has.

    Priors keep their sizes in pixels, since that is what their predictors have learnt (see `training.multi_scale`);
    their grid is laid out anew on the maps that there are. Facts of the sheet that no longer hold are dropped. Raises
    `ModelError` where the input does not go through the network, or its weights belong to one size.
    """
    spec, (height, width) = model.spec, size
    if size == (spec.input.height, spec.input.width):
        return model
    resized = replace(
        spec,
        tag="_".join(filter(None, [spec.tag, f"{width}x{height}"])),
        input=replace(spec.input, height=height, width=width),
        aliases=(),
        metrics=(),
        weights=None,
        check=None,
    )
    other = build_model(resized)
    if min(other.level_sizes) < 1:
        raise ModelError(f"{spec.name}: an input of {width}x{height} leaves one of its maps empty; take a larger one")
    try:
        other.load_state_dict(model.state_dict())
    except RuntimeError:
        raise ModelError(f"{spec.name}: its weights are for {spec.input.width}x{spec.input.height} alone") from None
    return other.eval()
