"""The VOC layout: JPEGImages, Annotations, and (where present) the lists of splits in ImageSets/Main.

Coordinates are taken as the files state them and clipped to the image: VOC itself counts pixels from 1 with inclusive
ends, most tools that write its format do not, and a reader cannot tell which; the difference is one pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeTree

from multibox.data.dataset import Dataset, Problem, Record, Truth, make_record
from multibox.errors import DataError
from multibox.images.read import read_size

_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
_WITHOUT_LISTS = ("train", "trainval", "all")


@dataclass(frozen=True, slots=True)
class _Annotation:
    """One xml file as read; `truths` is None where it could not be."""

    file: Path
    filename: str
    size: tuple[int, int]
    truths: list[Truth] | None
    error: str


def find_roots(root: Path) -> list[Path]:
    """The folders with `Annotations` and `JPEGImages` at `root`, or below it as `VOC2007`, `VOCdevkit/VOC2007`."""
    if _is_root(root):
        return [root]
    return sorted(path for pattern in ("VOC*", "VOCdevkit/*") for path in root.glob(pattern) if _is_root(path))


def list_splits(roots: Sequence[Path]) -> list[str]:
    """The splits that the lists name; `all` where a folder has no lists."""
    names: set[str] = set()
    for root in roots:
        stems = {path.stem for path in (root / "ImageSets" / "Main").glob("*.txt")}
        # VOC also lists every class (`cat_train.txt`); those are no splits.
        names |= {stem for stem in stems if "_" not in stem or stem.rpartition("_")[2] not in stems} or {"all"}
    return sorted(names)


def open_voc(root: Path, roots: Sequence[Path], split: str, names: Sequence[str] | None = None) -> Dataset:
    """The records of one split of one or more VOC folders (several years are joined).

    Names are those found in all annotations of all splits, sorted, unless given. Raises `DataError` for an absent
    split.
    """
    listed = [(folder, _stems(folder, split)) for folder in roots]
    if all(stems is None for _, stems in listed):
        raise DataError(f"{root} has no split '{split}'; it has {', '.join(list_splits(roots))}")
    annotations = {folder: {file.stem: _parse(file) for file in _xml_files(folder)} for folder in roots}
    if names is None:
        names = sorted(
            {truth.name for found in annotations.values() for a in found.values() for truth in a.truths or ()}
        )
    labels = {name: index for index, name in enumerate(names)}
    records: list[Record] = []
    problems: list[Problem] = []
    for folder, stems in listed:
        images = _Images(folder / "JPEGImages")
        for stem in stems or ():
            record, found = _read(folder, stem, annotations[folder].get(stem), images, labels, len(records) + 1)
            problems += found
            records += [record] if record else []
    ids = tuple(range(1, len(names) + 1))
    return Dataset(tuple(names), ids, tuple(records), root, "voc", split, tuple(problems))


class _Images:
    """The image files of a folder by stem and by name, listed once."""

    def __init__(self, folder: Path) -> None:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGE_ENDINGS)
        self._by_stem = {path.stem: path for path in reversed(files)}
        self._by_name = {path.name: path for path in files}

    def find(self, stem: str, filename: str) -> Path | None:
        """The image of an annotation: by the annotation's own stem first; the name written in it is often stale."""
        return self._by_stem.get(stem) or self._by_name.get(filename) or self._by_stem.get(Path(filename).stem)


def _read(
    folder: Path, stem: str, annotation: _Annotation | None, images: _Images, labels: dict[str, int], image_id: int
) -> tuple[Record | None, list[Problem]]:
    """One image's record, or None and why there is none."""
    file = folder / "Annotations" / f"{stem}.xml"
    if annotation is None:
        return None, [Problem(file, "", f"no such annotation, though the split lists '{stem}'", True)]
    if annotation.truths is None:
        return None, [Problem(file, "", annotation.error, True)]
    path = images.find(stem, annotation.filename)
    if path is None:
        return None, [Problem(file, "", f"its image '{stem}' is missing in {folder / 'JPEGImages'}", True)]
    size = annotation.size
    if min(size) < 1:  # absent or zero, as some tools leave it
        try:
            size = read_size(path)
        except DataError as error:
            return None, [Problem(path, "", str(error), True)]
    return make_record(image_id, path, size, annotation.truths, labels, file)


def _is_root(path: Path) -> bool:
    """Whether this is a VOC folder."""
    return (path / "Annotations").is_dir() and (path / "JPEGImages").is_dir()


def _xml_files(folder: Path) -> Iterable[Path]:
    """All annotations of a folder in the order of their names."""
    return sorted((folder / "Annotations").glob("*.xml"))


def _stems(folder: Path, split: str) -> list[str] | None:
    """The images of a split in the list's order; all annotations where there are no lists; None for an absent split."""
    lists = folder / "ImageSets" / "Main"
    if split == "all" or (split in _WITHOUT_LISTS and not any(lists.glob("*.txt"))):
        return [file.stem for file in _xml_files(folder)]
    parts = [lists / f"{split}.txt"]
    if split == "trainval" and not parts[0].is_file():
        parts = [lists / "train.txt", lists / "val.txt"]
    if not all(part.is_file() for part in parts):
        return None
    lines = [line.split() for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(words[0] for words in lines if words))


def _parse(file: Path) -> _Annotation:
    """One annotation file; what the format leaves out in practice (difficult, size) may be absent."""
    try:
        tree: Element = SafeTree.fromstring(file.read_bytes())
    except (ParseError, DefusedXmlException, OSError, ValueError) as error:
        return _Annotation(file, "", (0, 0), None, f"the annotation is not readable XML ({error})")
    size = _number(tree, "size/width"), _number(tree, "size/height")
    whole = (int(size[0]), int(size[1])) if all(math.isfinite(side) for side in size) else (0, 0)
    truths = [_truth(index, element) for index, element in enumerate(tree.iter("object"))]
    return _Annotation(file, (tree.findtext("filename") or "").strip(), whole, truths, "")


def _truth(index: int, element: Element) -> Truth:
    """One `object` element."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    x1, y1, x2, y2 = (_number(element, f"bndbox/{side}") for side in sides)
    stated = ", ".join(f"{side} {(element.findtext(f'bndbox/{side}') or 'absent').strip()}" for side in sides)
    return Truth(
        index=index,
        name=(element.findtext("name") or "").strip(),
        box=(x1, y1, x2, y2),
        stated=f"({stated})",
        difficult=_number(element, "difficult") == 1,
    )


def _number(element: Element, path: str) -> float:
    """The number at a path; NaN where it is absent or no number."""
    try:
        return float(element.findtext(path) or "nan")
    except ValueError:
        return math.nan
