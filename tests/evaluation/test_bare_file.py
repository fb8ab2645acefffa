"""An exported file without its post-processing computes the same boxes and scores."""

import numpy as np
import pytest

from multibox.errors import ModelError
from multibox.evaluation.bare_file import DENSE, write_bare
from multibox.prediction.engines.onnx_file import read_onnx
from multibox.zoo import builtin_detector

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    path = tmp_path_factory.mktemp("bare") / "bare.onnx"
    write_bare(builtin_detector(), path)
    return path


def test_the_cut_file_ends_before_nms_and_still_describes_itself(bare):
    graph = onnx.load_model(bare).graph
    assert tuple(output.name for output in graph.output) == DENSE
    assert not {"NonMaxSuppression", "TopK", "Loop", "If"} & {node.op_type for node in graph.node}
    assert not [name.name for name in graph.initializer if name.name.startswith("post/")]
    assert read_onnx(bare).spec == read_onnx(builtin_detector()).spec


@pytest.mark.slow
def test_the_cut_file_gives_what_the_whole_one_hands_to_its_nms(bare):
    import onnxruntime

    whole = onnx.load_model(builtin_detector())
    whole.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 3) for name in DENSE
    )
    batch = np.random.default_rng(0).integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)
    given, wanted = (
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(list(DENSE), {"images": batch})
        for data in (bare.read_bytes(), whole.SerializeToString())
    )
    for one, other in zip(given, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_file_without_such_values_is_named(tmp_path):
    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [info], [out])), tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=r"other\.onnx: has no values dense_boxes"):
        write_bare(tmp_path / "other.onnx", tmp_path / "bare.onnx")
    assert not (tmp_path / "bare.onnx").exists()
