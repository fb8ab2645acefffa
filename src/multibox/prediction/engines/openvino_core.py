"""OpenVINO's entry: imported without telemetry, and one core for the whole process."""

from __future__ import annotations

import sys
import threading
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


_making = threading.Lock()


def openvino_core() -> Any:
    """The `Core` of this process, which lives as long as it does; nobody may make another one.

    On CPUs with AMX a core gives the thread that first compiles with it a stack for signal handlers and frees that when
    it goes (OpenVINO 2026.4), though the thread may still be told to use it: once two cores went in the order in which
    they came, or one in another thread, the next signal that Python handles is a segmentation fault.
    """
    with _making:  # `cache` alone would let two threads make one each
        return _the_core()


@cache
def _the_core() -> Any:
    """The core, and with it the bindings' table of NumPy types.

    The bindings fill that table at its first use and let go of the interpreter meanwhile (OpenVINO 2026.4): where two
    threads come first with an inference each, both wait for ever. So it is filled here, before any thread can run one.
    """
    openvino = import_openvino()
    openvino.Type.u8.to_dtype()
    return openvino.Core()
