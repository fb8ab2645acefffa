"""Reads what `torch.save` wrote, running nothing of it: tensors, NumPy arrays, plain containers."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multibox.errors import ModelError


class _Inert:
    """Stands for a class of the writer's that holds nothing we need: attributes alone, and none of its code."""


_NUMPY = {"_reconstruct": np.empty(0).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}
_HARMLESS: list[Any] = [
    # the log of a training by mmdetection 3, beside its weights
    (_Inert, "mmengine.logging.history_buffer.HistoryBuffer"),
    # the options of a training by torchvision's reference script
    (_Inert, "argparse.Namespace"),
    *(
        (made, f"{module}.{name}")
        for name, made in _NUMPY.items()
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    ),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "?")),
]
"""What a pickle may make besides tensors: arrays of numbers, and objects without behaviour."""


def read_pickle(path: Path) -> object:
    """What the file holds, on the CPU.

    Raises `ModelError` naming the file where it is cut off, is none of `torch.save`, or asks for other objects.
    """
    try:
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings(action="ignore"):
            loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only" in str(error) or "Unsupported" in str(error):
            raise ModelError(f"{path}: holds Python objects besides tensors; save its state_dict alone") from None
        raise ModelError(f"{path}: cut off or damaged; copy it again") from None
    except Exception:  # a damaged archive fails in torch's reader in many ways
        raise ModelError(f"{path}: cut off or damaged, or not a torch checkpoint; copy it again") from None
    return loaded
