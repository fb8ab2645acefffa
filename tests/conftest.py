"""What all tests share: shapes checked at every call, and the folders of real data and weights where they are."""

import importlib.util
import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # workers are the parallelism; must be said before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]

TORCH_ROOMS = ("boxes", "network", "weights", "training", "exporting")
_HAS_TORCH = importlib.util.find_spec("torch") is not None

if all(importlib.util.find_spec(name) for name in ("torch", "jaxtyping", "beartype")):
    from jaxtyping import install_import_hook

    install_import_hook([f"multibox.{room}" for room in TORCH_ROOMS], "beartype.beartype")

collect_ignore = [] if _HAS_TORCH else [*TORCH_ROOMS, "parity"]


def _shared(folder: str) -> Path:
    path = Path(os.environ.get("MULTIBOX_SHARED", ROOT.parent / "shared")) / folder
    if not path.is_dir():
        pytest.skip(f"needs the folder {path}; set MULTIBOX_SHARED to where '{folder}' lies")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data sets: bccd, coco_sample, hardhat, metrics."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Trained networks of other codebases."""
    return _shared("weights")


def pytest_report_header() -> str:
    """Says which tests cannot run here."""
    return "" if _HAS_TORCH else f"torch is not installed: tests of {', '.join(TORCH_ROOMS)} are left out"
