"""What one image costs a network, counted without computing anything."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch.utils.flop_counter import FlopCounterMode

from multibox.network.model import SSD


def count_macs(model: SSD) -> int:
    """Multiply-accumulate operations of convolutions and matrix products for one image of the spec's size."""
    ghost = deepcopy(model).to("meta").eval()
    images = torch.zeros(1, 3, model.spec.input.height, model.spec.input.width, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ghost(images)
    return int(counter.get_total_flops()) // 2
