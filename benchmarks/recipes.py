"""Accuracy of recipes from scratch on one data set: torchvision's own loop, our recipe of it, and `modern`.

Usage: python benchmarks/recipes.py --data BCCD --out FOLDER [--arms torchvision torchvision_ssdlite modern]
       [--seeds 0 1 2] [--epochs 20] [--split trainval] [--test test] [--plot FILE.png] [--report]
Every arm learns the same photos for as many epochs with the same network (SSDLite320 MobileNetV3-Large) from random
weights, once per seed, and is measured on the test split after every quarter of the epochs; nothing is chosen by these
measurements. Recipes learn with their own batch, or with --batch where theirs is larger. The torchvision arm is the
loop of its detection references with their numbers, the learning rate brought to the batch; its weights are imported
and measured by our evaluation like all others. A run that is finished is kept in the folder and not repeated, so
several calls may share the arms or the seeds; --report only prints what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")

import torch
from torch import nn
from train import TheirLoop

from multibox.data.open import open_dataset
from multibox.evaluation.evaluate import evaluate
from multibox.prediction.detector import Detector
from multibox.prediction.engines.torch_engine import TorchEngine
from multibox.training.kept.results_table import read_rows
from multibox.training.options_file import make_options
from multibox.training.recipe import load_recipe
from multibox.training.train import train
from multibox.zoo.convert import convert
from multibox.zoo.models import load_model

SHEET = "ssdlite320_mobilenet_v3_large"
THEIRS = "torchvision"
METRICS = ("AP", "AP50", "AP75")
Points = dict[int, dict[str, float]]
"""By epoch: the metrics on the test split."""


def torchvision_points(args: argparse.Namespace, seed: int, folder: Path) -> Points:
    """The loop of torchvision's references: SGD, cosine by epochs, one epoch of linear warm-up."""
    torch.manual_seed(seed)
    dataset = open_dataset(args.data, args.split)
    records = [record for record in dataset.records if len(record.boxes)]
    rate = 0.15 * args.batch / 192  # 8 GPUs x 24 images
    loop = TheirLoop(records, len(dataset.names), args.batch, workers=0, rate=rate)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(loop.optimizer, T_max=args.epochs)
    points: Points = {}
    for epoch in range(1, args.epochs + 1):
        if epoch == 1:
            steps = min(1000, len(loop.loader) - 1)
            loop.epoch(torch.optim.lr_scheduler.LinearLR(loop.optimizer, 0.001, total_iters=steps).step)
        else:
            loop.epoch()
        cosine.step()
        if epoch in measured_epochs(args.epochs):
            points[epoch] = their_metrics(loop.model, args, folder)
            print(f"{THEIRS} seed {seed}, epoch {epoch}: AP {points[epoch]['AP']:.3f}", flush=True)
    return points


def their_metrics(model: nn.Module, args: argparse.Namespace, folder: Path) -> dict[str, float]:
    """torchvision's network, imported, on the test split."""
    theirs, ours = folder / "torchvision.pth", folder / "torchvision.safetensors"
    test = open_dataset(args.data, args.test)
    torch.save(model.state_dict(), theirs)
    ours.unlink(missing_ok=True)
    convert(theirs, ours, SHEET, names=test.names)
    scores = evaluate(Detector(TorchEngine(load_model(ours))), test).metrics
    return {name: float(scores[name]) for name in METRICS}


def our_points(args: argparse.Namespace, recipe: str, seed: int, folder: Path) -> Points:
    """`multibox train --recipe`, the averaged weights where the recipe has such."""
    batch = min(args.batch, load_recipe(recipe).options["batch"])
    given = {
        "data": str(args.data), "model": SHEET, "recipe": recipe, "split": args.split, "val_split": args.test,
        "epochs": args.epochs, "batch": batch, "seed": seed, "workers": 0, "cache": "ram",
        "val_period": max(1, args.epochs // 4), "project": str(folder), "name": "run", "exist_ok": True,
    }  # fmt: skip
    result = train(make_options(given))
    rows = [row for row in read_rows(result.folder / "results.csv") if "val/AP" in row]
    return {int(row["epoch"]): {name: row[f"val/{name}"] for name in METRICS} for row in rows}


def measured_epochs(epochs: int) -> set[int]:
    """Every quarter of the training, and its end."""
    step = max(1, epochs // 4)
    return {*range(step, epochs + 1, step), epochs}


def run(args: argparse.Namespace) -> None:
    """All arms and seeds that are not finished yet."""
    for seed in args.seeds:
        for arm in args.arms:
            folder = args.out / f"{arm}_{seed}"
            done = folder / "points.json"
            if done.is_file():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            points = torchvision_points(args, seed, folder) if arm == THEIRS else our_points(args, arm, seed, folder)
            done.write_text(json.dumps(points), encoding="utf-8")


def finished(args: argparse.Namespace) -> dict[str, list[Points]]:
    """The points of every arm, a list of seeds."""
    found: dict[str, list[Points]] = {}
    for arm in args.arms:
        files = [args.out / f"{arm}_{seed}" / "points.json" for seed in args.seeds]
        tables = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()]
        if tables:
            found[arm] = [{int(epoch): values for epoch, values in table.items()} for table in tables]
    return found


def report(found: dict[str, list[Points]]) -> None:
    """The table: each seed's AP after the last epoch, mean and range of the seeds."""
    print(f"{'arm':<22} {'AP':>6} {'AP50':>6} {'AP75':>6}   AP of each seed")
    for arm, tables in found.items():
        last = [table[max(table)] for table in tables]
        means = [100 * statistics.mean(values[name] for values in last) for name in METRICS]
        seeds = ", ".join(f"{100 * values['AP']:.1f}" for values in last)
        print(f"{arm:<22} " + " ".join(f"{mean:6.1f}" for mean in means) + f"   {seeds}")


def plot(found: dict[str, list[Points]], path: Path) -> None:
    """AP over the epochs: the mean of the seeds, and their range as a band."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for arm, tables in found.items():
        epochs = sorted(set.intersection(*(set(table) for table in tables)))
        curves = [[100 * table[epoch]["AP"] for epoch in epochs] for table in tables]
        line = axes.plot(epochs, [statistics.mean(column) for column in zip(*curves, strict=True)], "o-", label=arm)
        lowest, highest = ([pick(column) for column in zip(*curves, strict=True)] for pick in (min, max))
        axes.fill_between(epochs, lowest, highest, alpha=0.2, color=line[0].get_color())
    axes.set(xlabel="epoch", ylabel="AP on the test split", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    FigureCanvasAgg(figure).print_png(path)


def main() -> None:
    """Runs what is missing, then prints the table of what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=[THEIRS, "torchvision_ssdlite", "modern"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--split", default="trainval")
    parser.add_argument("--test", default="test")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    if not args.report:
        run(args)
    found = finished(args)
    report(found)
    if args.plot:
        plot(found, args.plot)


if __name__ == "__main__":
    main()
