"""The repository as torch.hub sees it: NVIDIA's published example runs with nothing changed but where the hub is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
import torch

from multibox.network.build import build_model
from multibox.zoo import load_spec
from nvidia_files import their_state

ROOT = Path(__file__).parents[1]
PARITY = Path(os.environ.get("MULTIBOX_PARITY", ROOT / "tests" / "parity"))
FILE = "nvidia_ssdpyt_amp_200703.pt"
NOT_NEEDED = (
    "supervision",
    "onnxruntime",
    "openvino",
    "lightning",
    "onnx",
    "typer",
    "rich",
    "hotcoco",
    "av",
    "skimage",
)

EXAMPLE = f"""
import torch
hub = {str(ROOT)!r}
ssd_model = torch.hub.load(hub, "nvidia_ssd", source="local")
utils = torch.hub.load(hub, "nvidia_ssd_processing_utils", source="local")

if torch.cuda.is_available():
    ssd_model.to("cuda")
ssd_model.eval()

uris = {[str(ROOT / "tests" / "parity" / "images" / name) for name in ("0.png", "1.png")]}
inputs = [utils.prepare_input(uri) for uri in uris]
tensor = utils.prepare_tensor(inputs)

with torch.no_grad():
    detections_batch = ssd_model(tensor)

results_per_input = utils.decode_results(detections_batch)
best_results_per_input = [utils.pick_best(results, 0.40) for results in results_per_input]
classes_to_labels = utils.get_coco_object_dictionary()

from matplotlib import pyplot as plt
import matplotlib.patches as patches

for image_idx in range(len(best_results_per_input)):
    fig, ax = plt.subplots(1)
    ax.imshow(inputs[image_idx] / 2 + 0.5)
    bboxes, classes, confidences = best_results_per_input[image_idx]
    for idx in range(len(bboxes)):
        left, bot, right, top = bboxes[idx]
        x, y, w, h = [val * 300 for val in [left, bot, right - left, top - bot]]
        ax.add_patch(patches.Rectangle((x, y), w, h, linewidth=1, edgecolor="r", facecolor="none"))
        ax.text(x, y, "{{}} {{:.0f}}%".format(classes_to_labels[classes[idx] - 1], confidences[idx] * 100))
    plt.savefig(f"{{image_idx}}.png")
"""
REPORT = """
import json, multibox, sys
device = next(ssd_model.parameters()).device
ploc, plabel = ssd_model(torch.load("input.pt").to(device))
torch.save((ploc.cpu(), plabel.cpu()), "output.pt")
rows = [[part.tolist() for part in image] for image in results_per_input]
best = [len(image[0]) for image in best_results_per_input]
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"home": multibox.__file__, "rows": rows, "best": best, "modules": modules}))
"""


def _published_file(folder: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Writes a file as the published one; gives an input, its (offsets, logits), and of which priors they are.

    The numbers are those of NVIDIA's own network where a fixture is at hand, else of our network by itself.
    """
    known = [name for name in ("nvidia__ssd300_r50", "nvidia__ssd300_r18") if (PARITY / f"{name}.npz").is_file()]
    if known:
        sys.path.insert(0, str(ROOT / "tests" / "parity"))
        import fixtures

        fixture = fixtures.load(known[0], PARITY)
        fixtures.write_checkpoint(fixture, folder / FILE, prefix="module.1.")
        arrays = [torch.from_numpy(fixture.arrays[f"net_{kind}"]) for kind in ("index", "deltas", "logits")]
        torch.save(fixtures.network_input(fixture), folder / "input.pt")
        return arrays[0].long(), arrays[1], arrays[2]
    torch.manual_seed(0)
    model = build_model(load_spec("ssd300_resnet50.nvidia_coco")).eval()
    for predictor in model.head.classes:  # type: ignore[union-attr]
        torch.nn.init.normal_(predictor.bias, std=3.0)  # so that something is detected
    torch.save({"epoch": 65, "label_map": {}, "model": their_state(model, "module.1.")}, folder / FILE)
    images = torch.randn(1, 3, 300, 300)
    torch.save(images, folder / "input.pt")
    with torch.no_grad():
        logits, offsets = model(images)
    first = torch.arange(4) * 38 * 38  # the first cell of the first map: ours in a row, theirs a map apart
    return first, offsets[0, :4], logits[0, :4]


def _run(code: str, folder: Path) -> str:
    """Runs code in `folder` without this test's path, so that the hub itself must find the package."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"MULTIBOX_CACHE": str(folder), "MULTIBOX_OFFLINE": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_nvidias_published_example_runs_unchanged_and_gives_their_numbers(tmp_path: Path) -> None:
    index, offsets, logits = _published_file(tmp_path)
    told = json.loads(_run(EXAMPLE + REPORT, tmp_path).splitlines()[-1])
    assert Path(told["home"]).is_relative_to(ROOT) and not set(NOT_NEEDED) & set(told["modules"])
    ploc, plabel = torch.load(tmp_path / "output.pt")
    assert ploc.shape == (1, 4, 8732) and plabel.shape == (1, 81, 8732)
    for given, wanted in ((ploc, offsets), (plabel, logits)):
        assert (given[0].T[index] - wanted).abs().max() <= 1e-4 * wanted.std()
    assert (tmp_path / "0.png").is_file() and (tmp_path / "1.png").is_file()
    for (boxes, classes, scores), best in zip(told["rows"], told["best"], strict=True):
        assert 0 < len(boxes) == len(classes) == len(scores) <= 20
        assert scores == sorted(scores) and scores[0] > 0.05 and {1, *classes, 80} <= set(range(1, 81))
        assert best == int((np.array(scores) > 0.4).sum())


@pytest.mark.slow
def test_the_entries_are_the_architectures_and_a_few_more() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import hubconf\n"
    code += "print([n for n in dir(hubconf) if callable(getattr(hubconf, n)) and n[0] != '_'])\n"
    code += "print(all(getattr(hubconf, n).__doc__ for n in dir(hubconf) if callable(getattr(hubconf, n))))\n"
    code += "import importlib.util as u; print([n for n in hubconf.dependencies if u.find_spec(n) is None])"
    names, documented, missing = _run(code, ROOT).splitlines()
    entries = set(eval(names))
    assert {"create_model", "detector", "nvidia_ssd", "nvidia_ssd_processing_utils"} < entries
    assert {"ssd300_vgg16", "ssd512_vgg16", "ssd300_resnet50", "ssdlite320_mobilenet_v2"} < entries
    assert (documented, missing) == ("True", "[]")
