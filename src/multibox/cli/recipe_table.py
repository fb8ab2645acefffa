"""The list of recipes as a table, for the terminal and for the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multibox.training.recipe import Recipe

TITLES = ("model", "length", "batch", "rate", "goes", "warm-up", "learns by", "from")


def cells(recipe: Recipe) -> tuple[str, ...]:
    """The columns after the name; the model is the usual one of several."""
    options = recipe.options
    more = len(recipe.models) - 1
    return (
        recipe.models[0] + (f" and {more} more" if more else ""),
        f"{options['epochs']} epochs" if "epochs" in options else f"{options['iterations']:,} steps",
        str(options["batch"]),
        f"{options['lr0']:g}",
        _schedule(options),
        _warmup(options),
        _optimizer(options),
        recipe.source.codebase,
    )


def _schedule(options: dict[str, Any]) -> str:
    """`x0.1 at 80, 110`, `cosine`, `cosine, by epoch`."""
    kind = str(options.get("schedule", "cosine"))
    if kind == "step":
        return f"x{options.get('step_factor', 0.1):g} at {', '.join(f'{m:,}' for m in options.get('milestones', ()))}"
    every = options.get("rate_every", 0)
    return kind + (", by epoch" if every == 1 else f", every {every} epochs" if every else "")


def _warmup(options: dict[str, Any]) -> str:
    """`500 steps from x0.001`."""
    steps, epochs = options.get("warmup_steps"), options.get("warmup_epochs", None if "warmup_steps" in options else 1)
    if 0 in (steps, epochs):
        return "-"
    length = f"{steps:,} steps" if steps else f"{epochs:g} epochs"
    return f"{length} from x{options.get('warmup_start', 0.001):.3g}"


def _optimizer(options: dict[str, Any]) -> str:
    """`sgd 0.9, decay 0.0005`, and what is apart."""
    words = [f"{options.get('optimizer', 'sgd')} {options.get('momentum', 0.9):g}"]
    if options.get("weight_decay") is not None:
        words.append(f"decay {options['weight_decay']:g}")
    if not options.get("decay_norms", True):
        words.append("not of norms and biases")
    elif not options.get("decay_biases", True):
        words.append("not of biases")
    if options.get("bias_rate", 1) != 1:
        words.append(f"biases x{options['bias_rate']:g}")
    return ", ".join(words)
