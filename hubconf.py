"""Entries of torch.hub: `torch.hub.list(repo)` names them, `torch.hub.help(repo, entry)` explains one.

One entry per architecture gives its network, `create_model` one on another backbone; `detector` finds objects in
pictures; `nvidia_ssd` with `nvidia_ssd_processing_utils` are those of NVIDIA's DeepLearningExamples. The package need
not be installed.
"""

import sys as _sys
from pathlib import Path as _Path

dependencies = ["cv2", "jaxtyping", "numpy", "PIL", "pydantic", "safetensors", "timm", "torch", "torchvision"]

_SOURCE = str(_Path(__file__).resolve().parent / "src")
if _SOURCE not in _sys.path:
    _sys.path.insert(0, _SOURCE)

from multibox.prediction.detector import load as detector  # noqa: E402, F401
from multibox.prediction.nvidia_hub import nvidia_ssd, nvidia_ssd_processing_utils  # noqa: E402, F401
from multibox.zoo.create import create_model  # noqa: E402, F401
from multibox.zoo.hub import entries as _entries  # noqa: E402

globals().update(_entries())
