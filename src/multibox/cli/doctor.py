"""`multibox doctor`: what is installed, which engine is the fastest, whether the detector in the box finds a person."""

from __future__ import annotations

import json as json_text
import platform
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from multibox.installed import is_installed, version_of

_CORE = ("multibox", "numpy", "opencv-python-headless", "pillow", "onnxruntime", "supervision", "hotcoco")
_EXTRA = ("openvino", "torch", "torchvision", "timm", "lightning", "onnx", "onnxscript", "safetensors")


def doctor(
    model: Annotated[
        str, typer.Argument(help="An exported file whose engines are timed too; from then on auto takes the fastest.")
    ] = "default",
    *,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check this installation, and time a file on each engine; the exit code is 1 where the detector in the box fails.

    What is the fastest for the file is remembered in the cache (MULTIBOX_CACHE), for the versions that are installed.
    """
    from multibox.prediction.engines.base import cores

    trial = _try_detector()
    report = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "packages": {name: version_of(name) for name in (*_CORE, *_EXTRA)},
        "engines": _engines(),
        "race": _race(model) if trial["ok"] else {},
        "detector": trial,
        "ok": trial["ok"],
    }
    if json:
        typer.echo(json_text.dumps(report, indent=2, ensure_ascii=False))
    else:
        _show(report)
    if not trial["ok"]:
        raise typer.Exit(1)


def _engines() -> dict[str, str]:
    """Which engine runs which kind of file by default, and why."""
    installed = [name for name in ("openvino", "onnxruntime") if is_installed(name)]
    exported = " or ".join(installed) if installed else "none: pip install onnxruntime"
    weights = "torch: it is installed" if is_installed("torch") else "none: pip install 'multibox[train]'"
    return {"exported file (.onnx)": exported, "weights (.safetensors)": weights}


def _race(model: str) -> dict[str, Any]:
    """The model's file on each engine that runs it: milliseconds, and which is taken from now on."""
    from multibox import zoo
    from multibox.cli.failures import say
    from multibox.errors import MultiboxError
    from multibox.evaluation.race import race
    from multibox.prediction.engines import RUNTIMES, has_runtime, open_engine
    from multibox.prediction.engines.choice import remember

    path = zoo.builtin_detector() if model == "default" else Path(model)
    able = [name for name in RUNTIMES.get(path.suffix.lower(), ()) if has_runtime(name)]
    if len(able) < 2:
        return {"model": model, "milliseconds": {}, "auto": able[0] if able else open_engine(path).name}
    times = race([open_engine(path, name) for name in able])
    rounded = {name: round(value, 2) for name, value in times.items()}
    try:
        return {"model": model, "milliseconds": rounded, "auto": remember(path, times)}
    except MultiboxError as error:
        say(f"what is fastest is not remembered: {error}")
        return {"model": model, "milliseconds": rounded, "auto": able[0]}


def _try_detector() -> dict[str, Any]:
    """Loads the detector in the box and looks for the person in the sample photograph; times in milliseconds."""
    from multibox.cli.sample import sample_photo
    from multibox.prediction.detector import load

    try:
        start = time.perf_counter()
        detector = load()
        loaded = time.perf_counter()
        detector.predict(sample_photo())  # the first picture also pays for imports and memory
        first = time.perf_counter()
        found = detector.predict(sample_photo())
        end = time.perf_counter()
    except Exception as error:  # whatever is broken here is what a doctor is for
        return {"ok": False, "error": " ".join(f"{type(error).__name__}: {error}".split())}
    names = [str(name) for name in found.data["class_name"]]
    person = names.index("person") if "person" in names else None
    scores: Any = found.confidence
    return {
        "ok": person is not None,
        "model": detector.spec.name,
        "engine": detector.engine.name,
        "load_ms": round(1000 * (loaded - start), 1),
        "first_ms": round(1000 * (first - loaded), 1),
        "next_ms": round(1000 * (end - first), 1),
        "found": names,
        "person": round(float(scores[person]), 3) if person is not None else None,
    }


def _show(report: dict[str, Any]) -> None:
    """The report, a line per fact."""
    typer.echo(f"python {report['python']} on {report['system']}, {report['cores']} cores")
    for name, version in report["packages"].items():
        typer.echo(f"  {name:<24} {version or '-'}")
    for kind, engine in report["engines"].items():
        typer.echo(f"{kind}: {engine}")
    if race := report["race"]:
        times = ", ".join(f"{name} {value} ms" for name, value in race["milliseconds"].items())
        typer.echo(f"{race['model']}: {times + ': ' if times else ''}auto takes {race['auto']}")
    trial = report["detector"]
    if "error" in trial:
        typer.echo(f"detector in the box: FAILED, {trial['error']}")
        return
    finds = f"finds the person ({trial['person']})" if trial["ok"] else f"FAILED to find the person ({trial['found']})"
    typer.echo(
        f"detector in the box: {trial['model']} on {trial['engine']} {finds} in {trial['next_ms']} ms "
        f"(loading {trial['load_ms']} ms, first picture {trial['first_ms']} ms)"
    )
