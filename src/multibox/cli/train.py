"""`multibox train`: a dataset and a model become weights in a run folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from multibox.cli.train_call import run, show
from multibox.cli.train_words import split_lists

_what = partial(typer.Option, rich_help_panel="What")
_learn = partial(typer.Option, rich_help_panel="How it learns")
_look = partial(typer.Option, rich_help_panel="What is drawn for each image")
_keep = partial(typer.Option, rich_help_panel="Where and what is kept")


def train(
    *,
    data: Annotated[str | None, _what("--data", "-d", help="The dataset's folder, in VOC or COCO layout.")] = None,
    model: Annotated[
        str | None, _what("--model", "-m", help="A sheet's name or path, or a file with weights to go on from.")
    ] = None,
    recipe: Annotated[
        str | None,
        _what("--recipe", help="How to train, and which model: see 'multibox recipes list', or a .toml file."),
    ] = None,
    weights: Annotated[
        str | None,
        _what("--weights", "--ckpt", help="Weights to start from: a file, or a sheet whose weights are published."),
    ] = None,
    backbone: Annotated[
        str | None, _what("--backbone", help="Another backbone than the sheet's: a timm name, or torchvision/NAME.")
    ] = None,
    pretrained_backbone: Annotated[
        bool | None,
        _what("--pretrained-backbone/--no-pretrained-backbone", help="Start it from its ImageNet weights."),
    ] = None,
    imgsz: Annotated[
        str | None, _what("--imgsz", help="Another input: its side, or WIDTHxHEIGHT. [default: the model's]")
    ] = None,
    split: Annotated[str | None, _what(help="The split that is learnt. [default: train]")] = None,
    val_split: Annotated[
        str | None, _what(help="The split that chooses the best epoch, or none. [default: val]")
    ] = None,
    names: Annotated[
        str | None, _what("--names", "--classes", help="Classes and their order, a,b,c. [default: the data's]")
    ] = None,
    epochs: Annotated[int | None, _what("--epochs", help="[default: 60]")] = None,
    iterations: Annotated[int | None, _what("--iterations", help="Length in steps, instead of epochs.")] = None,
    batch: Annotated[int | None, _what("--batch", "--batch-size", help="Images per step. [default: 16]")] = None,
    accumulate: Annotated[
        int | None, _what("--accumulate", help="Batches per step of the optimizer. [default: 1]")
    ] = None,
    auto_batch: Annotated[
        bool | None,
        _what("--auto-batch/--no-auto-batch", help="Halve a batch that does not fit, and accumulate twice as many."),
    ] = None,
    config: Annotated[Path | None, _what("--config", help="A YAML file of options, such as a run's args.yaml.")] = None,
    resume: Annotated[Path | None, _what("--resume", help="The folder of a run to go on with.")] = None,
    dry_run: Annotated[
        bool, _what("--dry-run", help="Check everything, print the resolved run, write nothing.")
    ] = False,
    device: Annotated[str | None, _what("--device", help="auto, cpu, cuda, cuda:N or mps. [default: auto]")] = None,
    devices: Annotated[
        int | None, _what("--devices", min=1, help="Processes on this machine, one for each GPU. [default: 1]")
    ] = None,
    workers: Annotated[int | None, _what("--workers", help="Processes that read images. [default: 2]")] = None,
    threads: Annotated[int | None, _what("--threads", help="CPU threads of the network. [default: torch's]")] = None,
    amp: Annotated[
        Literal["none", "bf16", "fp16"] | None,
        _what("--amp", help="Mixed precision; fp16 on CUDA only. [default: none]"),
    ] = None,
    compile: Annotated[
        bool | None, _what("--compile/--no-compile", help="Compile the network first: minutes, then faster steps.")
    ] = None,
    seed: Annotated[int | None, _what("--seed", help="[default: 0]")] = None,
    lr0: Annotated[
        float | None, _learn("--lr0", "--lr", help="Highest learning rate. [default: the model's, scaled to the batch]")
    ] = None,
    lr_final: Annotated[
        float | None, _learn("--lr-final", help="Last rate of cosine and poly, a share of lr0. [default: 0]")
    ] = None,
    optimizer: Annotated[
        Literal["sgd", "adam", "adamw", "rmsprop"] | None, _learn("--optimizer", help="[default: sgd]")
    ] = None,
    momentum: Annotated[float | None, _learn("--momentum", help="[default: 0.9]")] = None,
    nesterov: Annotated[bool | None, _learn("--nesterov/--no-nesterov", help="Nesterov's momentum.")] = None,
    square_decay: Annotated[
        float | None, _learn("--square-decay", help="Of the mean of squared gradients. [default: 0.999, rmsprop 0.99]")
    ] = None,
    weight_decay: Annotated[float | None, _learn("--weight-decay", help="[default: the model's]")] = None,
    sync_bn: Annotated[
        bool | None, _learn("--sync-bn/--no-sync-bn", help="Batch norms see the images of all processes (GPUs).")
    ] = None,
    decay_norms: Annotated[
        bool | None, _learn("--decay-norms/--no-decay-norms", help="Whether norms and biases decay. [default: yes]")
    ] = None,
    decay_biases: Annotated[
        bool | None,
        _learn("--decay-biases/--no-decay-biases", help="Whether convolutions' biases decay. [default: yes]"),
    ] = None,
    bias_rate: Annotated[
        float | None, _learn("--bias-rate", help="Rate of convolutions' biases, times that of all else. [default: 1]")
    ] = None,
    schedule: Annotated[
        Literal["cosine", "step", "poly", "constant"] | None, _learn("--schedule", help="[default: cosine]")
    ] = None,
    milestones: Annotated[
        str | None,
        _learn("--milestones", help="Where steps are: shares of the training below 1, or epochs. [default: 0.67,0.89]"),
    ] = None,
    step_factor: Annotated[
        float | None, _learn("--step-factor", help="By which a step multiplies the rate. [default: 0.1]")
    ] = None,
    poly_power: Annotated[
        float | None, _learn("--poly-power", help="Power of poly's remaining share. [default: 1]")
    ] = None,
    rate_every: Annotated[
        int | None, _learn("--rate-every", help="Epochs between changes of the rate. [default: 0, every step]")
    ] = None,
    decay_from: Annotated[
        Literal["warmup", "start"] | None,
        _learn("--decay-from", help="Where cosine and poly begin: after the warm-up, or under it. [default: warmup]"),
    ] = None,
    warmup: Annotated[Literal["linear", "constant"] | None, _learn("--warmup", help="[default: linear]")] = None,
    warmup_start: Annotated[
        float | None, _learn("--warmup-start", help="First rate of the warm-up, a share. [default: 0.001]")
    ] = None,
    warmup_epochs: Annotated[float | None, _learn("--warmup-epochs", help="[default: 1]")] = None,
    warmup_steps: Annotated[
        int | None, _learn("--warmup-steps", help="Its length in steps; with epochs too, the shorter.")
    ] = None,
    clip_grad: Annotated[
        float | None, _learn("--clip-grad", help="Largest norm of the gradient. [default: none]")
    ] = None,
    assigner: Annotated[
        Literal["sheet", "per_object", "bipartite", "atss", "aligned"] | None,
        _learn("--assigner", help="Which priors learn which object. [default: sheet]"),
    ] = None,
    class_loss: Annotated[
        Literal["sheet", "mined", "focal", "quality_focal", "varifocal"] | None,
        _learn("--class-loss", help="[default: sheet: mined for softmax, focal for sigmoid scores]"),
    ] = None,
    box_loss: Annotated[
        Literal["smooth_l1", "giou", "diou", "ciou"] | None, _learn("--box-loss", help="[default: smooth_l1]")
    ] = None,
    box_weight: Annotated[
        float | None, _learn("--box-weight", help="Multiplies the box loss. [default: 1 for smooth_l1, else 2]")
    ] = None,
    negative_ratio: Annotated[
        float | None, _learn("--negative-ratio", help="Hard negatives per positive of the mined loss. [default: 3]")
    ] = None,
    focal_alpha: Annotated[
        float | None, _learn("--focal-alpha", help="Weight of positives in focal losses. [default: the sheet's]")
    ] = None,
    focal_gamma: Annotated[float | None, _learn("--focal-gamma", help="[default: the sheet's]")] = None,
    ema: Annotated[
        float | None,
        _learn("--ema", help="Decay of the averaged weights, 0 for none. [default: 0.9998, reached slowly]"),
    ] = None,
    freeze: Annotated[str | None, _learn("--freeze", help="Parts that do not learn: backbone,head,...")] = None,
    freeze_norms: Annotated[
        bool | None, _learn("--freeze-norms/--no-freeze-norms", help="Whether batch norms stay as they start.")
    ] = None,
    teacher: Annotated[
        str | None, _learn("--teacher", help="A trained network of the same priors to learn from.")
    ] = None,
    teacher_weight: Annotated[float | None, _learn("--teacher-weight", help="[default: 1]")] = None,
    augment: Annotated[
        bool | None, _look("--augment/--no-augment", help="Whether images are changed at all. [default: yes]")
    ] = None,
    zoom_out: Annotated[float | None, _look("--zoom-out", help="Probability of zooming out. [default: 0.5]")] = None,
    zoom_out_max: Annotated[
        float | None, _look("--zoom-out-max", help="Largest canvas, times the photo's sides. [default: 4]")
    ] = None,
    crop: Annotated[bool | None, _look("--crop/--no-crop", help="The paper's IoU crop. [default: yes]")] = None,
    crop_min: Annotated[
        float | None, _look("--crop-min", help="Smallest side of a crop, share of the photo's. [default: 0.3]")
    ] = None,
    flip: Annotated[float | None, _look("--flip", help="Probability of a mirrored image. [default: 0.5]")] = None,
    photometric: Annotated[
        bool | None, _look("--photometric/--no-photometric", help="Brightness, contrast, colour. [default: yes]")
    ] = None,
    mosaic: Annotated[
        float | None, _look("--mosaic", help="Probability of four photos in one image. [default: 0]")
    ] = None,
    mixup: Annotated[
        float | None, _look("--mixup", help="Probability of a second photo that shines through. [default: 0]")
    ] = None,
    close_mosaic: Annotated[
        int | None, _look("--close-mosaic", help="Last epochs without mosaic and mixup. [default: 10]")
    ] = None,
    multi_scale: Annotated[
        float | None, _look("--multi-scale", help="Share by which the input's sides vary by batch. [default: 0]")
    ] = None,
    cache: Annotated[
        Literal["none", "bytes", "ram", "disk"] | None,
        _look("--cache", help="Keep files' bytes in memory, or decoded photos in ram or on disk. [default: none]"),
    ] = None,
    balance: Annotated[
        Literal["none", "classes", "repeat_factor"] | None,
        _look("--balance", help="Show images of rare classes more often. [default: none]"),
    ] = None,
    repeat_threshold: Annotated[
        float | None,
        _look("--repeat-threshold", help="Of repeat_factor: share of images of a rare class. [default: 0.001]"),
    ] = None,
    project: Annotated[str | None, _keep("--project", "--output-dir", help="[default: runs/train]")] = None,
    name: Annotated[
        str | None,
        _keep("--name", help="The run's folder in the project; a number is added where taken. [default: run]"),
    ] = None,
    exist_ok: Annotated[bool | None, _keep("--exist-ok", help="Write into a folder that is there.")] = None,
    logger: Annotated[
        Literal["none", "wandb", "mlflow"] | None,
        _keep("--logger", help="Who is told the numbers beside TensorBoard and results.csv. [default: none]"),
    ] = None,
    val_period: Annotated[int | None, _keep("--val-period", help="Validate every k-th epoch. [default: 1]")] = None,
    save_minutes: Annotated[
        float | None, _keep("--save-minutes", help="Minutes between checkpoints within an epoch. [default: 10]")
    ] = None,
    save_period: Annotated[int | None, _keep("--save-period", help="Keep the weights of every k-th epoch.")] = None,
    patience: Annotated[int | None, _keep("--patience", help="Stop after so many epochs without a better AP.")] = None,
    find_lr: Annotated[
        bool, _learn("--find-lr", help="Do not train: print the rate at which the loss falls fastest.")
    ] = False,
    find_batch: Annotated[
        bool, _what("--find-batch", help="Do not train: print the largest batch that fits in the GPU's memory.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The outcome as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Warnings only.")] = False,
) -> None:
    """Train a model on your own images, or go on with a run (--resume).

    Classes come from the data. Logs go to stderr; the run's folder, its weights and metrics to stdout.
    """
    given = {key: value for key, value in locals().items() if value is not None}
    from multibox.cli.launch import start_devices
    from multibox.training.processes.launched import find_processes

    start_devices(given.pop("devices", None))
    apart = {key: given.pop(key, None) for key in ("json", "quiet", "config", "resume", "dry_run")}
    find = {key: given.pop(f"find_{key}") for key in ("lr", "batch")}
    rank = find_processes().rank
    if dry_run:
        from multibox.cli.dry_run import preview

        if rank == 0:
            preview(split_lists(given), apart["config"], apart["resume"], quiet, json)
        return
    result = run(split_lists(given), apart["config"], apart["resume"], quiet, rank, find)
    if result is None:
        return
    if rank == 0:
        show(result, json)
    if result.interrupted:
        raise typer.Exit(130)
