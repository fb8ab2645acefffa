"""The graph that every engine runs: uint8 pixels -> decoded boxes and scores of every prior."""

from __future__ import annotations

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from multibox.boxes.coding import decode
from multibox.network.model import SSD
from multibox.network.normalize import Normalize


class Inference(nn.Module):
    """A model with normalisation before and decoding after it; thresholds and NMS come later (`boxes.postprocess`)."""

    def __init__(self, model: SSD) -> None:
        super().__init__()
        self.model = model
        self.normalize = Normalize(model.spec.input)

    def forward(self, images: UInt8[Tensor, "n h w 3"]) -> tuple[Float[Tensor, "n p 4"], Float[Tensor, "n p c"]]:
        """(boxes x1, y1, x2, y2 as fractions of the input, scores of the foreground classes)."""
        spec = self.model.spec
        logits, offsets = self.model(self.normalize(images))
        scores = logits.softmax(-1) if spec.activation == "softmax" else logits.sigmoid()
        boxes = decode(offsets, self.model.priors, spec.coder)
        return boxes.clamp(0, 1) if spec.postprocess.clip else boxes, scores[..., int(spec.background) :]
