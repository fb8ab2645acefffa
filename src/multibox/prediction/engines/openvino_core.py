"""OpenVINO's entry: imported without telemetry, and one core for the whole process."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import Any


def import_openvino() -> ModuleType:
    """OpenVINO without its telemetry, which would otherwise write to the home folder and send on import."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: an ImportError there
    import openvino

    module: ModuleType = openvino
    return module


@cache
def openvino_core() -> Any:
    """The `Core` of this process, which lives as long as it does; nobody may make another one.

    On CPUs with AMX a core gives the thread that first compiles with it a stack for signal handlers and frees that when
    it goes (OpenVINO 2026.4), though the thread may still be told to use it: once two cores went in the order in which
    they came, or one in another thread, the next signal that Python handles is a segmentation fault.
    """
    return import_openvino().Core()
