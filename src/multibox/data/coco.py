"""The COCO layout: one JSON file per split, and a folder of images that is found from the split's name.

Known forms: `annotations/instances_<split>*.json` with `<split>*/` or `images/` (also `images/<split>*/`), and
Roboflow's `<split>/_annotations.coco.json` beside its images.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multibox.data.dataset import Dataset, Problem, Record, Truth, make_record
from multibox.errors import DataError
from multibox.images.read import read_size

_ROBOFLOW = "_annotations.coco.json"
_OTHER_WORDS = {"val": ("valid", "validation"), "valid": ("val",), "validation": ("val",)}


@dataclass(frozen=True, slots=True)
class _Content:
    """One annotation file, its lists checked to be lists of objects."""

    file: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]


def find_files(root: Path) -> dict[str, Path]:
    """The annotation file of every split at `root`, by the split's name (`train2017`, `val`, ...)."""
    files = {path.stem.removeprefix("instances_"): path for path in sorted(root.glob("annotations/instances_*.json"))}
    if not files:
        files = {path.stem: path for path in sorted(root.glob("annotations/*.json"))}
    files |= {path.parent.name: path for path in sorted(root.glob(f"*/{_ROBOFLOW}"))}
    return files or ({"all": root / _ROBOFLOW} if (root / _ROBOFLOW).is_file() else {})


def open_coco(root: Path, files: dict[str, Path], split: str, names: Sequence[str] | None = None) -> Dataset:
    """The records of one split. Names are the file's categories in their order (all of them) unless given.

    `trainval` joins train and val where no file has that name. Raises `DataError` for an absent or ambiguous split and
    for a file that is not COCO's.
    """
    parts = [split] if split != "trainval" or _matching(files, split) else ["train", "val"]
    contents = [_load(files[_resolve(root, files, part)]) for part in parts]
    categories = {str(c.get("name", "")): int(c["id"]) for content in contents for c in content.categories}
    chosen = tuple(categories) if names is None else tuple(names)
    labels = {name: index for index, name in enumerate(chosen)}
    records: list[Record] = []
    problems: list[Problem] = []
    for content in contents:
        found, wrong = _read(root, content, labels)
        records += found
        problems += wrong
    return Dataset(chosen, _ids(chosen, categories), tuple(_renumber(records)), root, "coco", split, tuple(problems))


def _ids(names: Sequence[str], categories: dict[str, int]) -> tuple[int, ...]:
    """Each name's category id; names that the file does not know follow its highest id."""
    top = max(categories.values(), default=0)
    unknown = {name: top + 1 + index for index, name in enumerate(n for n in names if n not in categories)}
    return tuple(categories.get(name, unknown.get(name, 0)) for name in names)


def _renumber(records: Sequence[Record]) -> list[Record]:
    """The records; those of joined files whose image ids collide are counted anew from 1."""
    if len({record.image_id for record in records}) == len(records):
        return list(records)
    return [replace(record, image_id=index) for index, record in enumerate(records, 1)]


def _matching(files: dict[str, Path], split: str) -> list[str]:
    """The splits that a word may mean: its own name, its other word, or it followed by a year."""
    for word in (split, *_OTHER_WORDS.get(split, ())):
        if word in files:
            return [word]
        years = [name for name in files if name.startswith(word) and name[len(word) :].strip("_-").isdigit()]
        if years:
            return years
    return []


def _resolve(root: Path, files: dict[str, Path], split: str) -> str:
    """The one split meant."""
    found = _matching(files, split)
    if not found:
        raise DataError(f"{root} has no split '{split}'; it has {', '.join(files)}")
    if len(found) > 1:
        raise DataError(f"{root} has several splits '{split}': say which of {', '.join(found)}")
    return found[0]


def _load(file: Path) -> _Content:
    """The file's three lists. Raises `DataError` where it is not a COCO detection file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} is not readable JSON ({error})") from None
    lists: list[list[dict[str, Any]]] = []
    for key in ("images", "annotations", "categories"):
        value = content.get(key) if isinstance(content, dict) else None
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise DataError(f"{file} is not a COCO detection file: it has no list '{key}'")
        lists.append(value)
    for key, entries in (("images", lists[0]), ("categories", lists[2])):
        if any(not isinstance(entry.get("id"), int) for entry in entries):
            raise DataError(f"{file}: an entry of '{key}' has no whole-number id")
    return _Content(file, *lists)


def _read(root: Path, content: _Content, labels: dict[str, int]) -> tuple[list[Record], list[Problem]]:
    """All records of one file."""
    names = {int(category["id"]): str(category.get("name", "")) for category in content.categories}
    truths: dict[int, list[Truth]] = defaultdict(list)
    for index, annotation in enumerate(content.annotations):
        image_id = annotation.get("image_id")
        truths[image_id if isinstance(image_id, int) else -1].append(_truth(index, annotation, names))
    problems: list[Problem] = []
    known = {image["id"] for image in content.images}
    for image_id in sorted(set(truths) - known):
        message = f"annotates image {image_id}, which the file does not list; the object is left out"
        problems += [Problem(content.file, f"object {t.index} ({t.name})", message, False) for t in truths[image_id]]
    folders = _image_folders(root, content)
    records: list[Record] = []
    for image in content.images:
        path = next((p for folder in folders if (p := folder / str(image.get("file_name", ""))).is_file()), None)
        if path is None:
            message = f"image '{image.get('file_name', '')}' is missing in {folders[0] if folders else root}"
            problems.append(Problem(content.file, "", message, True))
            continue
        try:
            size = _size(image, path)
        except DataError as error:
            problems.append(Problem(path, "", str(error), True))
            continue
        record, found = make_record(image["id"], path, size, truths.get(image["id"], ()), labels, content.file)
        records.append(record)
        problems += found
    return records, problems


def _size(image: dict[str, Any], path: Path) -> tuple[int, int]:
    """(width, height) as the file states it, else as the image's header does."""
    width, height = image.get("width"), image.get("height")
    if isinstance(width, int) and isinstance(height, int) and min(width, height) > 0:
        return width, height
    return read_size(path)


def _image_folders(root: Path, content: _Content) -> list[Path]:
    """The folders that may hold the file's images, the one with the first images foremost."""
    split = content.file.stem.removeprefix("instances_")
    word = split.rstrip("0123456789").rstrip("_-")
    candidates = [root / split, root / "images" / split, root / word, root / "images" / word]
    candidates += [root / "images", root / "JPEGImages", content.file.parent, root]
    folders = [folder for folder in dict.fromkeys(candidates) if folder.is_dir()]
    first = [str(image.get("file_name", "")) for image in content.images[:20]]
    return sorted(folders, key=lambda folder: -sum((folder / name).is_file() for name in first))


def _truth(index: int, annotation: dict[str, Any], names: dict[int, str]) -> Truth:
    """One annotation; COCO's x, y, width, height become corners."""
    box = annotation.get("bbox")
    numbers = [_number(value) for value in box] if isinstance(box, list) and len(box) == 4 else [math.nan] * 4
    x, y, width, height = numbers
    category = annotation.get("category_id")
    area = _number(annotation.get("area"))
    return Truth(
        index=index,
        name=names.get(category, f"category {category}") if isinstance(category, int) else f"category {category}",
        box=(x, y, x + width, y + height),
        stated=f"{box} (x, y, width, height)",
        crowd=bool(annotation.get("iscrowd", 0)),
        area=area if math.isfinite(area) and area > 0 else None,
    )


def _number(value: object) -> float:
    """The value as a float; NaN where it is no number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
