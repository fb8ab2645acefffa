"""The graph that every engine runs: uint8 pixels -> decoded boxes and scores of every prior."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from multibox.boxes.coding import decode
from multibox.network.model import SSD, Predictions
from multibox.network.normalize import Normalize


class Inference(nn.Module):
    """A model with normalisation before and decoding after it; thresholds and NMS come later (`boxes.postprocess`).

    `dtype` is that of the network in between; what comes before and after is float32.
    """

    def __init__(self, model: SSD) -> None:
        super().__init__()
        self.model = model
        self.normalize = Normalize(model.spec.input)
        self.dtype = torch.float32

    def forward(self, images: UInt8[Tensor, "n h w 3"]) -> tuple[Float[Tensor, "n p 4"], Float[Tensor, "n p c"]]:
        """(boxes x1, y1, x2, y2 as fractions of the input, scores of the foreground classes)."""
        return self.decoded(*self.predicted(images))

    def predicted(self, images: UInt8[Tensor, "n h w 3"]) -> Predictions:
        """Logits and offsets as they leave the network."""
        x = self.normalize(images)
        if self.dtype == torch.float32:
            logits, offsets = self.model(x)
            return Predictions(logits, offsets)
        logits, offsets = self.model(x.to(self.dtype))
        return Predictions(logits.float(), offsets.float())

    def decoded(
        self, logits: Float[Tensor, "n p columns"], offsets: Float[Tensor, "n p 4"]
    ) -> tuple[Float[Tensor, "n p 4"], Float[Tensor, "n p c"]]:
        """What `forward` gives, of logits and offsets."""
        spec = self.model.spec
        scores = logits.softmax(-1) if spec.activation == "softmax" else logits.sigmoid()
        boxes = decode(offsets, self.model.priors, spec.coder)
        return boxes.clamp(0, 1) if spec.postprocess.clip else boxes, scores[..., int(spec.background) :]
