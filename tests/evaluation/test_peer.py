"""torchvision's twin of a network computes what ours does; networks without a twin are refused."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from multibox.cli.sample import sample_photo  # noqa: E402
from multibox.errors import ModelError, UsageError  # noqa: E402
from multibox.evaluation.made_up import PAIRS, make_up, passing  # noqa: E402
from multibox.evaluation.peer import make_twin, open_twin, save_twin  # noqa: E402
from multibox.images.prepare import prepare  # noqa: E402
from multibox.images.read import read_image  # noqa: E402
from multibox.network.build import build_model  # noqa: E402
from multibox.network.normalize import Normalize  # noqa: E402
from multibox.prediction.engines.torch_engine import TorchEngine  # noqa: E402
from multibox.zoo import load_spec  # noqa: E402

SSDLITE = "ssdlite320_mobilenet_v3_large.torchvision_coco"


def photo(name: str) -> np.ndarray:
    return prepare(read_image(sample_photo()), load_spec(name).input).pixels


@pytest.mark.slow
@pytest.mark.parametrize("name", [SSDLITE, "ssd300_vgg16.torchvision_coco"])
def test_the_twin_finds_the_same_objects(name, tmp_path):
    pixels = photo(name)
    model = make_up(load_spec(name), pixels)
    save_twin(model, tmp_path / "twin.pth")
    ours = TorchEngine(model).run(pixels[None])[0]
    with torch.no_grad():
        theirs = open_twin(tmp_path / "twin.pth")([torch.from_numpy(pixels).permute(2, 0, 1) / 255])[0]
    assert len(ours.scores) == len(theirs["scores"]) > 100
    np.testing.assert_allclose(ours.scores, theirs["scores"].numpy(), atol=1e-4)
    same = np.abs(ours.boxes * pixels.shape[0] - theirs["boxes"].numpy()).max(axis=1) < 0.05
    assert same.mean() > 0.95  # equal scores may come in another order


@pytest.mark.slow
@pytest.mark.parametrize("name", [SSDLITE, "ssd320_mobilenet_v2_fpnlite.coco", "ssd300_mobilenet_v1.tf1_coco"])
def test_made_up_weights_let_the_wanted_number_of_pairs_pass(name):
    spec, pixels = load_spec(name), photo(name)
    model = make_up(spec, pixels)
    with torch.no_grad():
        logits = model(Normalize(spec.input)(torch.from_numpy(pixels[None]))).logits
    assert abs(passing(logits, spec) - PAIRS) <= 0.01 * PAIRS
    again = make_up(spec, pixels)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), again.parameters(), strict=True))


@pytest.mark.slow
def test_a_network_that_torchvision_has_not_is_refused():
    with pytest.raises(UsageError, match="torchvision has no ssd320_mobilenet_v2_fpnlite; it has ssd300_vgg16 and"):
        make_twin(build_model(load_spec("ssd320_mobilenet_v2_fpnlite.coco")))
    full = "ssdlite320_mobilenet_v3_large.torchvision_full_tail"
    with pytest.raises(UsageError, match="is not torchvision's network: 'backbone"):
        make_twin(build_model(load_spec(full)))


def test_a_file_that_is_no_twin_is_refused(tmp_path):
    (tmp_path / "other.pth").write_bytes(b"no")
    with pytest.raises(ModelError, match=r"other\.pth: not a twin"):
        open_twin(tmp_path / "other.pth")
