"""`multibox priors`: how well a model's priors fit a dataset's objects, and a sheet with priors that fit them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from multibox.training.coverage import Fit
    from multibox.training.fitted import FittedPriors


def priors(
    *,
    data: Annotated[str, typer.Option("--data", "-d", help="The dataset's folder, in VOC or COCO layout.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A sheet's name or path, or a file with weights.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the fitted sheet here (.toml); none: show its priors.")
    ] = None,
    split: Annotated[str, typer.Option(help="The split whose objects are fitted to.")] = "train",
    backbone: Annotated[str | None, typer.Option(help="Another backbone than the sheet's, as in train.")] = None,
    imgsz: Annotated[str | None, typer.Option(help="Another input: its side, or WIDTHxHEIGHT, as in train.")] = None,
    max_shapes: Annotated[int, typer.Option("--max-shapes", min=1, help="Most shapes per cell of a level.")] = 6,
    json: Annotated[bool, typer.Option("--json", help="The figures and the sheet as JSON on stdout.")] = False,
) -> None:
    """Fit a sheet's levels and priors to your objects, and show how many have a fitting prior before and after.

    Train with the new sheet by `multibox train --model FILE`.
    """
    from multibox.errors import UsageError
    from multibox.sheet import to_toml, write_sheet
    from multibox.training.fitted import fit_priors
    from multibox.training.options import TrainOptions

    if output is not None and output.suffix != ".toml":
        raise UsageError(f"output '{output}' is not the name of a sheet; give one that ends in .toml")
    options = TrainOptions(data=data, model=model, split=split, backbone=backbone, imgsz=imgsz)
    fitted = fit_priors(options, most=max_shapes)
    if output is not None:
        write_sheet(fitted.spec, output)
    if json:
        from json import dumps

        typer.echo(dumps(_summary(fitted, output), indent=2))
        return
    _show(fitted)
    if poor := fitted.after.poor():
        sizes = " and ".join(poor)
        typer.echo(f"few priors fit objects of {sizes} even so; a larger --imgsz makes these objects larger", err=True)
    if output is None:
        sheet = to_toml(fitted.spec)
        typer.echo(sheet[sheet.index("[priors]") : sheet.index("\n\n", sheet.index("[priors]"))])
    else:
        typer.echo(f"sheet    {output}")


def _show(fitted: FittedPriors) -> None:
    """The share of objects with a prior of IoU >= 0.5 by size, and the mean of their best IoU."""
    before, after = fitted.before.by_size(), fitted.after.by_size()
    typer.echo(f"{'objects':<14}{'number':>8}{'fitting before':>16}{'after':>8}")
    for name, (share, count) in before.items():
        typer.echo(f"{name:<14}{count:>8}{share:>16.1%}{after[name][0]:>8.1%}")
    means = [float(fit.best.mean()) for fit in (fitted.before, fitted.after)]
    typer.echo(f"{'mean best IoU':<14}{len(fitted.before.best):>8}{means[0]:>16.3f}{means[1]:>8.3f}")
    typer.echo(f"{'priors':<22}{fitted.priors_before:>16}{fitted.priors_after:>8}")


def _summary(fitted: FittedPriors, output: Path | None) -> dict[str, Any]:
    """All of it in plain types."""
    from json import loads

    from multibox.sheet import to_json

    def words(fit: Fit) -> dict[str, Any]:
        sizes = {name: {"share": share, "objects": count} for name, (share, count) in fit.by_size().items()}
        return {"mean_best_iou": float(fit.best.mean()), "sizes": sizes}

    return {
        "before": {"priors": fitted.priors_before, **words(fitted.before)},
        "after": {"priors": fitted.priors_after, **words(fitted.after)},
        "sheet": str(output) if output else None,
        "spec": loads(to_json(fitted.spec)),
    }
