"""Which fields of a spec each kind of part honours: a field that would be ignored is refused, not passed over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields

from multibox.errors import ModelError
from multibox.spec import BackboneSpec, ExtrasSpec, HeadSpec, ModelSpec

_NORM = {"norm_eps", "norm_momentum"}
_MOBILE = {*_NORM, "padding", "activation", "width", "min_channels"}
_BACKBONES = {
    "vgg16_atrous": {*_NORM, "pool_ceil", "l2norm", "first_batch_norm"},
    "mobilenet_v1": _MOBILE,
    "mobilenext": _NORM,
    "torchvision/squeezenet": {*_NORM, "pool_ceil"},
    "torchvision/": {*_NORM, "padding", "width", "reduced_tail", "squeeze"},
    "timm/": {*_NORM, "padding", "unstrided", "stride_first"},
    "": _NORM,
}
"""By the beginning of the name, the first that fits; whoever has no norms may still be told of them."""
_EXTRAS = {
    "conv": {"activation", "padding"},
    "conv_norm": {"activation", "padding"},
    "separable": {"activation", "padding", "batch_norm", "linear_out", "squeeze"},
    "sandglass": {"activation", "padding"},
}
_SHARED = {"tower_depth", "tower_channels", "separable_tower", "shared_tower", "prior_probability"}
_HEADS = {
    "conv": {"kernel", "prior_probability", "stride"},
    "separable": {"kernel", "batch_norm", "plain_last", "prior_probability"},
    "shared": _SHARED,
}


def refuse_ignored_fields(spec: ModelSpec) -> None:
    """Raises `ModelError` naming the first field that differs from its default in a part that does not honour it."""
    backbone, extras, head = spec.backbone, spec.extras, spec.head
    family = next(known for known in _BACKBONES if backbone.name.startswith(known))
    _refuse(spec.name, "backbone", backbone.name, backbone, {"name", "taps", *_BACKBONES[family]})
    if extras is not None:
        always = {"kind", "blocks", "first", "consumes_last"}
        _refuse(spec.name, "extras", extras.kind, extras, always | _EXTRAS[extras.kind])
    _refuse(spec.name, "head", head.kind, head, {"kind", *_HEADS[head.kind]})


def _refuse(model: str, part: str, kind: str, spec: BackboneSpec | ExtrasSpec | HeadSpec, known: Iterable[str]) -> None:
    """One part."""
    for field in fields(spec):
        value = getattr(spec, field.name)
        if field.name not in known and field.default is not MISSING and value != field.default:
            said = f"{part}.{field.name} = {value!r}"
            raise ModelError(f"{model}: {said} has no meaning for {part} '{kind}'; leave it out")
