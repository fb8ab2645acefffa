"""Everything that comes before the first step: data, network, weights to start from, and what is said about them."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, replace

import torch

from multibox.data.augment import AugmentSpec
from multibox.data.check import check_dataset, refuse_fatal
from multibox.data.dataset import Dataset
from multibox.data.open import open_dataset
from multibox.data.photometric import Photometric
from multibox.data.samples import TrainSamples, collate
from multibox.data.window import CropRule
from multibox.errors import DataError, ModelError
from multibox.network.build import build_model
from multibox.network.heads import expect_background
from multibox.network.model import SSD
from multibox.network.normalize import Normalize
from multibox.network.recalibrate import is_folded, recalibrate
from multibox.spec import InputSpec, ModelSpec
from multibox.training.coverage import Fit, fit_of, remedy
from multibox.training.losses.distillation import Teacher
from multibox.training.options import TrainOptions
from multibox.training.resolve import resolve
from multibox.zoo.create import create_spec
from multibox.zoo.fitting import FITTED
from multibox.zoo.models import find_weights, load_model, spec_of
from multibox.zoo.transfer import Report, transfer

log = logging.getLogger(__name__)

_SHOWN_PROBLEMS = 10
_PHOTOS_FOR_NORMS = 256
_RARE = 0.01
"""Probability with which a prior starts as an object where a focal loss is chosen (RetinaNet paper, 4.1)."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a training works on."""

    options: TrainOptions
    train: Dataset
    val: Dataset | None
    network: SSD
    fit: Fit
    """Of the network's priors to the objects that are learnt."""
    teacher: Teacher | None


def prepare_training(options: TrainOptions, earlier: ModelSpec | None = None) -> Setup:
    """Reads and checks everything, and says what there is. Raises `DataError`, `ModelError`, `UsageError`.

    `earlier` is the model of the same run when it goes on, whatever became of its sheet.
    """
    train = _open(options, options.split)
    val = _open(options, options.val_split) if options.validates else None
    names, ids = train.names, train.ids
    if val is not None and val.names != names:
        raise DataError(f"the splits '{options.split}' and '{options.val_split}' of {options.data} differ in classes")
    spec = earlier or _spec(options).with_names(names, ids)
    _say_classes(train, val)
    network = build_model(spec, pretrained_backbone=options.pretrained_backbone and not earlier)
    if options.class_loss in ("focal", "quality_focal", "varifocal") and spec.head.prior_probability is None:
        expect_background(network.head, spec, _RARE)
    if options.start and not earlier:
        _start_from(network, options.start)
        if is_folded(network) and not options.freeze_norms:
            _unfold_norms(network, train)
    fit = fit_of(train, network)
    _say_coverage(fit, network, options)
    return Setup(
        options=resolve(options, spec, len(train)),
        train=train,
        val=val,
        network=network,
        fit=fit,
        teacher=_teacher(options, network),
    )


def augmentation(options: TrainOptions) -> AugmentSpec:
    """What is drawn for each image."""
    if not options.augment:
        return AugmentSpec.none()
    crop = CropRule() if options.crop is True else options.crop or None
    if crop and options.crop_min is not None:
        crop = replace(crop, scale=(options.crop_min, crop.scale[1]))
    return AugmentSpec(
        photometric=Photometric() if options.photometric is True else options.photometric or None,
        zoom_out_p=options.zoom_out,
        zoom_out_max=options.zoom_out_max,
        crop=crop,
        flip_p=options.flip,
        mosaic=options.mosaic,
        mixup=options.mixup,
    )


def _open(options: TrainOptions, split: str) -> Dataset:
    """One split, checked; problems that the reader took care of are said."""
    dataset = open_dataset(options.data, split, names=options.names)
    problems = check_dataset(dataset)
    refuse_fatal(problems)
    for problem in problems[:_SHOWN_PROBLEMS]:
        log.warning("%s", problem)
    if len(problems) > _SHOWN_PROBLEMS:
        log.warning("and %d more such entries in split '%s'", len(problems) - _SHOWN_PROBLEMS, split)
    return dataset


def _spec(options: TrainOptions) -> ModelSpec:
    """The sheet, or what the file with weights says of itself, with the backbone and the input that are asked for."""
    if options.start == options.model:
        return create_spec(spec_of(find_weights(options.model)), input_size=options.input_size)
    spec = create_spec(options.model, options.backbone, input_size=options.input_size)
    if spec.weights and not options.start:
        log.info("weights of this sheet are published: --weights %s would start from them", options.model)
    return spec


def _start_from(network: SSD, weights: str) -> None:
    """Takes over what fits, and says what did. Raises `ModelError` where nothing does."""
    loaded = find_weights(weights)
    report = transfer(network, loaded)
    if not report.loaded:
        raise ModelError(
            f"{weights}: none of its {len(report.unused)} tensors fits the model '{network.spec.name}'; "
            "give weights of that architecture"
        )
    _say_transfer(report, weights, network.spec.labels.names)
    source = spec_of(loaded)
    if _sees_otherwise(source.input, network.spec.input):
        log.warning(
            "%s learnt on pixels of other scale or colour order than '%s' gives ([input] color, mean, std); it starts "
            "better from a sheet with those of '%s'", weights, network.spec.name, source.name,
        )  # fmt: skip


def _say_transfer(report: Report, weights: str, names: tuple[str, ...]) -> None:
    """What was taken over, part by part; what is as initialised; what was of no use."""
    log.info(
        "weights from %s: %d tensors taken over, %d as initialised, %d unused; %d of %d classes known",
        weights, len(report.loaded), len(report.reinitialised), len(report.unused), len(report.classes), len(names),
    )  # fmt: skip
    log.info("taken over: %s", ", ".join(f"{part} {n} of {count}" for part, (n, count) in report.parts().items()))
    for words, things in (
        ("as initialised", report.reinitialised),
        ("unused", report.unused),
        ("class rows taken over", report.classes),
        ("class rows as initialised", tuple(name for name in names if name not in report.classes)),
    ):
        if things:
            log.info("%s: %s", words, _shorten(things))
    if report.misfits:
        log.warning(
            "%s: known to these weights too, but the class rows do not fit (another kind of score, or other priors per "
            "cell)", _shorten(report.misfits),
        )  # fmt: skip


def _sees_otherwise(source: InputSpec, target: InputSpec) -> bool:
    """Whether a grey-level value of 0, or of 255, becomes a number that differs by more than a tenth of their range."""
    ends = [[((x - m) / s) for x in (0, 255) for m, s in zip(i.mean, i.std, strict=True)] for i in (source, target)]
    spans = [max(values) - min(values) for values in ends]
    far = max(abs(one - other) for one, other in zip(*ends, strict=True)) > 0.1 * max(spans)
    return source.color != target.color or far


def _unfold_norms(network: SSD, train: Dataset) -> None:
    """Gives norms that an importer could only fill with identities the statistics of the data, the output unchanged."""
    samples = TrainSamples(train, network.spec.input, AugmentSpec.none())
    normalize = Normalize(network.spec.input)
    count = min(len(samples), _PHOTOS_FOR_NORMS)
    batches = (
        normalize(torch.from_numpy(collate([samples[index] for index in range(start, min(start + 16, count))]).images))
        for start in range(0, count, 16)
    )
    recalibrate(network, batches)
    log.info("batch norms were folded in these weights; their statistics were measured on %d photos", count)


def _teacher(options: TrainOptions, network: SSD) -> Teacher | None:
    """The teacher, checked against its student."""
    if not options.teacher:
        return None
    return Teacher(load_model(options.teacher), network, options.teacher_weight)


def _say_classes(train: Dataset, val: Dataset | None) -> None:
    """Images and objects by class."""
    for dataset in (train, val) if val else (train,):
        counts = Counter(int(label) for record in dataset.records for label in record.labels)
        empty = sum(not len(record.labels) for record in dataset.records)
        shown = _shorten([f"{name} {counts[index]}" for index, name in enumerate(dataset.names)], 12)
        log.info(
            "%s: %d images (%d without objects), %d objects: %s",
            dataset.split, len(dataset), empty, counts.total(), shown,
        )  # fmt: skip


def _say_coverage(fit: Fit, network: SSD, options: TrainOptions) -> None:
    """How well the priors fit the objects; a warning where many have no prior."""
    shares = ", ".join(f"{name} {share:.0%} of {count}" for name, (share, count) in fit.by_size().items())
    log.info("priors: %d; objects with a prior of IoU >= 0.5: %s", len(network.priors), shares)
    if poor := fit.poor():
        log.warning("%s", remedy(poor, options, fitted=network.spec.tag == FITTED))


def _shorten(words: tuple[str, ...] | list[str], most: int = 6) -> str:
    """The first few, and how many more."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
