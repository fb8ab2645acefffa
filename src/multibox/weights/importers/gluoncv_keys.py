"""Names in GluonCV's files of MXNet -> our keys, one table of rules for each kind of network.

A name is that of `save_parameters` (`features.stages.0.0.weight`) or that of the symbol, whose first words and counters
depend on what was built before (`ssd0_vggatrousextractor0_conv0_weight`); the rules look at its end.
"""

from __future__ import annotations

from multibox.weights.importers.gluon_parts import Rule, mobilenet_layer, vgg_layer

NORM = {
    "gamma": "weight",
    "beta": "bias",
    "running_mean": "running_mean",
    "running_var": "running_var",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
}
"""MXNet's parts of a batch norm -> torch's."""

BEFORE = r"(?:.*[._])?"
"""Whatever stands before the words that tell."""
_CONV = r"[._](weight|bias)"
_BN = rf"[._]({'|'.join(NORM)})"
_NET = "backbone.net"

_HEADS: tuple[Rule, ...] = (
    (rf"class_predictors\.(\d+)\.predictor{_CONV}", lambda m: f"head.classes.{m[1]}.{m[2]}"),
    (rf"box_predictors\.(\d+)\.predictor{_CONV}", lambda m: f"head.boxes.{m[1]}.{m[2]}"),
    # in the symbol one counter goes over class and box predictors in turn
    (
        rf"{BEFORE}convpredictor(\d+)_conv0{_CONV}",
        lambda m: f"head.{('classes', 'boxes')[int(m[1]) % 2]}.{int(m[1]) // 2}.{m[2]}",
    ),
)

_VGG_CONVS = [(stage, 2 * i) for stage, count in enumerate((2, 2, 3, 3, 3)) for i in range(count)]
"""(Stage, layer) of each convolution of VGG16, as the symbol counts them."""

VGG: tuple[Rule, ...] = (
    *_HEADS,
    (rf"{BEFORE}(?:norm4\.scale|normalize_scale)", lambda m: "backbone.first_norm.scale"),
    (rf"features\.stages\.(\d)\.(\d){_CONV}", lambda m: f"{vgg_layer(int(m[1]), int(m[2]))}.{m[3]}"),
    (rf"{BEFORE}vggatrousextractor\d+_conv(\d+){_CONV}", lambda m: f"{vgg_layer(*_VGG_CONVS[int(m[1])])}.{m[2]}"),
    (rf"{BEFORE}dilated_conv(\d){_CONV}", lambda m: f"{vgg_layer(5, 2 * int(m[1]))}.{m[2]}"),
    (rf"features\.extras\.(\d)\.(\d){_CONV}", lambda m: f"extras.blocks.{m[1]}.{m[2]}.{m[3]}"),
    (rf"{BEFORE}extra(\d)_conv(\d){_CONV}", lambda m: f"extras.blocks.{m[1]}.{2 * int(m[2])}.{m[3]}"),
)

_EXPANDER: tuple[Rule, ...] = (
    (rf"{BEFORE}expand_trans_conv(\d){_CONV}", lambda m: f"extras.blocks.{m[1]}.0.0.{m[2]}"),
    (rf"{BEFORE}expand_trans_bn(\d){_BN}", lambda m: f"extras.blocks.{m[1]}.0.1.{NORM[m[2]]}"),
    (rf"{BEFORE}expand_conv(\d){_CONV}", lambda m: f"extras.blocks.{m[1]}.1.0.{m[2]}"),
    (rf"{BEFORE}expand_bn(\d){_BN}", lambda m: f"extras.blocks.{m[1]}.1.1.{NORM[m[2]]}"),
)

MOBILENET: tuple[Rule, ...] = (
    *_HEADS,
    *_EXPANDER,
    (rf"{BEFORE}mobilenet\d+_conv(\d+){_CONV}", lambda m: f"{mobilenet_layer(int(m[1]))}.0.{m[2]}"),
    (rf"{BEFORE}mobilenet\d+_batchnorm(\d+){_BN}", lambda m: f"{mobilenet_layer(int(m[1]))}.1.{NORM[m[2]]}"),
)


def resnet_v1(convolutions: int, first_stage_projects: bool) -> tuple[Rule, ...]:
    """Rules of a ResNet v1 with so many convolutions in a block. A stage counts its convolutions, and its norms alike:
    those of the first block, then that of its shortcut where it has one, then those of the other blocks.
    """

    def place(stage: str, number: str, kind: str) -> str:
        projects = int(stage) > 1 or first_stage_projects
        index = int(number)
        if projects and index == convolutions:
            return f"{_NET}.layer{stage}.0.downsample.{int(kind == 'bn')}"
        block, layer = divmod(index - int(projects and index > convolutions), convolutions)
        return f"{_NET}.layer{stage}.{block}.{kind}{layer + 1}"

    name = rf"{BEFORE}resnetv1\d+_"
    return (
        *_HEADS,
        *_EXPANDER,
        (rf"{name}conv0{_CONV}", lambda m: f"{_NET}.conv1.{m[1]}"),
        (rf"{name}batchnorm0{_BN}", lambda m: f"{_NET}.bn1.{NORM[m[1]]}"),
        (rf"{name}stage(\d)_conv(\d+){_CONV}", lambda m: f"{place(m[1], m[2], 'conv')}.{m[3]}"),
        (rf"{name}stage(\d)_batchnorm(\d+){_BN}", lambda m: f"{place(m[1], m[2], 'bn')}.{NORM[m[3]]}"),
    )


_LAYERS = {"1.4": 1, "1.5": 2, "2.0": 3, "2.1": 4}
"""Stage and child of GluonCV's two stages of a ResNet-34 v1b -> our layer."""
_V1B, _BLOCK = rf"{BEFORE}resnetv1b\d+_", r"features\.stage(1\.4|1\.5|2\.0|2\.1)\.(\d+)\."

RESNET_V1B: tuple[Rule, ...] = (
    *_HEADS,
    (rf"features\.stage1\.0{_CONV}", lambda m: f"{_NET}.conv1.{m[1]}"),
    (rf"features\.stage1\.1{_BN}", lambda m: f"{_NET}.bn1.{NORM[m[1]]}"),
    (
        rf"{_BLOCK}(conv\d|downsample\.0){_CONV}",
        lambda m: f"{_NET}.layer{_LAYERS[m[1]]}.{m[2]}.{m[3]}.{m[4]}",
    ),
    (
        rf"{_BLOCK}(bn\d|downsample\.1){_BN}",
        lambda m: f"{_NET}.layer{_LAYERS[m[1]]}.{m[2]}.{m[3]}.{NORM[m[4]]}",
    ),
    (rf"features\.more_stages\.(\d)\.(\d){_CONV}", lambda m: f"extras.blocks.{m[1]}.{m[2]}.{m[3]}"),
    (rf"{_V1B}conv0{_CONV}", lambda m: f"{_NET}.conv1.{m[1]}"),
    (rf"{_V1B}batchnorm0{_BN}", lambda m: f"{_NET}.bn1.{NORM[m[1]]}"),
    (rf"{_V1B}layers(\d)_conv(\d+){_CONV}", lambda m: f"{_basic(m[1], m[2], 'conv')}.{m[3]}"),
    (rf"{_V1B}layers(\d)_batchnorm(\d+){_BN}", lambda m: f"{_basic(m[1], m[2], 'bn')}.{NORM[m[3]]}"),
    (rf"{_V1B}down(\d)_conv0{_CONV}", lambda m: f"{_NET}.layer{m[1]}.0.downsample.0.{m[2]}"),
    (rf"{_V1B}down(\d)_batchnorm0{_BN}", lambda m: f"{_NET}.layer{m[1]}.0.downsample.1.{NORM[m[2]]}"),
    (
        rf"{BEFORE}resnetv1bssd\d+_conv(\d+){_CONV}",
        lambda m: f"extras.blocks.{int(m[1]) // 2}.{int(m[1]) % 2 * 2}.{m[2]}",
    ),
)


def _basic(stage: str, number: str, kind: str) -> str:
    """The `number`th convolution or norm of a stage of blocks with two of each."""
    block, layer = divmod(int(number), 2)
    return f"{_NET}.layer{stage}.{block}.{kind}{layer + 1}"
