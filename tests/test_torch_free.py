"""The core install: every torch-free room is imported, and used, where the training packages cannot be."""

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "multibox"
BLOCKED = ("torch", "torchvision", "timm", "lightning", "onnx", "onnxscript", "safetensors", "jaxtyping", "tensorboard")
ROOMS = ("images", "data", "results", "zoo", "prediction", "evaluation", "cli")
WITH_TORCH = (
    "multibox.zoo.backbone_choice",
    "multibox.zoo.convert",
    "multibox.zoo.create",
    "multibox.zoo.fitting",
    "multibox.zoo.hub",
    "multibox.zoo.models",
    "multibox.zoo.transfer",
    "multibox.evaluation.made_up",
    "multibox.evaluation.peer",
    "multibox.prediction.engines.torch_engine",
    "multibox.prediction.nvidia_hub",
)
"""Modules of those rooms that build networks; the others import them inside functions only."""

BLOCK = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)
sys.meta_path.insert(0, Block())
"""


def modules() -> list[str]:
    files = [
        *(PACKAGE / "spec").glob("*.py"),
        PACKAGE / "errors.py",
        *(file for room in ROOMS for file in (PACKAGE / room).rglob("*.py")),
    ]
    names = [".".join(("multibox", *file.relative_to(PACKAGE).with_suffix("").parts)) for file in files]
    return sorted({name.removesuffix(".__init__") for name in names} - set(WITH_TORCH))


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)


def test_the_modules_that_build_networks_are_there():
    assert all((PACKAGE.parent / (name.replace(".", "/") + ".py")).is_file() for name in WITH_TORCH)


def test_all_torch_free_modules_import_without_torch():
    names = modules()
    assert len(names) > 30
    code = f"""
import importlib
for name in {names}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(name, "imports", error.name)
"""
    done = run(code)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("words", [["--help"], ["models", "list"], ["models", "info", "ssd300_vgg16"], ["version"]])
def test_a_verb_that_needs_no_torch_runs_without(words):
    done = run(f"from multibox.cli import main\nmain({words})")
    assert (done.returncode, done.stderr) == (0, "")


def test_weights_without_torch_are_one_sentence_that_names_the_extra(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    # A core install has no torch to be found, so looking for it must find nothing as well.
    hide = "import importlib.util as u\nfind = u.find_spec\n"
    hide += f"u.find_spec = lambda name, *rest: None if name in {BLOCKED} else find(name, *rest)\n"
    done = run(f"{hide}from multibox.cli import main\nmain(['predict', '--model', {str(file)!r}, '--no-save'])")
    assert done.returncode == 4
    assert "multibox[train]" in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_imports_nothing_of_it():
    done = run(
        "import multibox\nprint(sorted(n for n in sys.modules if n.startswith('multibox')), 'numpy' in sys.modules)"
    )
    assert done.stdout == "['multibox'] False\n"
