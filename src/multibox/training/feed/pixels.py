"""A batch's pixels on the device: colours, mirror and normalisation of all images at once.

Where the network runs on an accelerator its workers leave colours and mirror to it: bytes travel, and a batch is one
matrix product. On a CPU the workers do it, as that is faster there (`benchmarks/augment.py`).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from multibox.network.normalize import Normalize
from multibox.training.feed.loader import TrainBatch


def network_input(batch: TrainBatch, normalize: Normalize) -> Float[Tensor, "n 3 h w"]:
    """The batch as the network takes it.

    Colours are not rounded in between as a worker's are, which lie within a grey level of these.
    Normalisation is part of the same matrix, and the limits 0 and 255 move with it.
    """
    if not len(batch.matrices):
        normal: Tensor = normalize(batch.images)
        return normal
    mean, scale = normalize.mean.view(3), 1 / normalize.std.view(3)
    order = [2, 1, 0] if normalize.bgr else [0, 1, 2]
    plain = torch.eye(3, 4, device=mean.device).expand(len(batch.images), 3, 4)
    colored, around = (_normal(matrices[:, order], mean, scale) for matrices in (batch.matrices, plain))
    low, high = -mean * scale, (255 - mean) * scale
    with torch.autocast(batch.images.device.type, enabled=False):
        inside = torch.minimum(torch.maximum(_color(batch.images, colored), low), high)
        pixels = torch.where(_inside(batch), inside, _color(batch.images, around))
    return _mirrored(pixels, batch.mirrors).permute(0, 3, 1, 2)


def finished_pixels(batch: TrainBatch) -> UInt8[Tensor, "n h w 3"]:
    """The batch as a worker would have finished it, within one grey level by rounding."""
    if not len(batch.matrices):
        return batch.images
    with torch.autocast(batch.images.device.type, enabled=False):
        colored = _color(batch.images, batch.matrices).round_().clamp_(0, 255).to(torch.uint8)
    return _mirrored(torch.where(_inside(batch), colored, batch.images), batch.mirrors)


def _normal(
    matrices: Float[Tensor, "n 3 4"], mean: Float[Tensor, " c"], scale: Float[Tensor, " c"]
) -> Float[Tensor, "n 3 4"]:
    """Matrices that also normalise what they give."""
    shift = torch.zeros(3, 4, device=mean.device)
    shift[:, 3] = mean
    return (matrices - shift) * scale[:, None]


def _color(images: UInt8[Tensor, "n h w 3"], matrices: Float[Tensor, "n 3 4"]) -> Float[Tensor, "n h w 3"]:
    """Every pixel times its image's matrix."""
    flat = images.flatten(1, 2).float()
    return torch.baddbmm(matrices[:, None, :, 3], flat, matrices[:, :, :3].transpose(1, 2)).view(images.shape)


def _inside(batch: TrainBatch) -> Bool[Tensor, "n h w 1"]:
    """Which pixels show a photo; the others are canvas."""
    height, width = batch.images.shape[1:3]
    x1, y1, x2, y2 = batch.areas[:, :, None, None].unbind(1)
    column = torch.arange(width, device=batch.images.device)
    row = torch.arange(height, device=batch.images.device)[:, None]
    return ((column >= x1) & (column < x2) & (row >= y1) & (row < y2))[..., None]


def _mirrored(images: Tensor, mirrors: Bool[Tensor, " n"]) -> Tensor:
    """Images [n, h, w, 3], some of them mirrored."""
    return torch.where(mirrors[:, None, None, None], images.flip(2), images)
