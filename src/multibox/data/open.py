"""A folder becomes a dataset: its layout is recognised by what lies in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from multibox.data.coco import find_files, open_coco
from multibox.data.dataset import Dataset
from multibox.data.voc import find_roots, open_voc
from multibox.data.voc import list_splits as list_voc_splits
from multibox.errors import DataError


def open_dataset(root: str | Path, split: str = "train", *, names: Sequence[str] | None = None) -> Dataset:
    """One split of the dataset in the folder `root`, VOC or COCO; annotations that are broken are in its `problems`.

    `names` fixes the classes and their order; without it they come from the data and are equal for all splits. The
    split `trainval` joins train and val where it is not listed itself. Raises `DataError` for a folder that is absent
    or of no known layout, an absent split, and a split without a single usable image.
    """
    folder = Path(root)
    roots, files = _recognise(folder)
    dataset = open_voc(folder, roots, split, names) if roots else open_coco(folder, files, split, names)
    if not dataset.records:
        reason = f" ({dataset.problems[0]})" if dataset.problems else ""
        raise DataError(f"split '{split}' of {folder} has no usable image{reason}")
    return dataset


def list_splits(root: str | Path) -> list[str]:
    """The splits of a dataset by name. Raises `DataError` for a folder that is absent or of no known layout."""
    roots, files = _recognise(Path(root))
    return list_voc_splits(roots) if roots else list(files)


def _recognise(folder: Path) -> tuple[list[Path], dict[str, Path]]:
    """(VOC folders, COCO files by split); exactly one of them is not empty."""
    if not folder.exists():
        raise DataError(f"no such dataset folder: {folder}")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; a dataset is a folder in VOC or COCO layout")
    roots = find_roots(folder)
    files = {} if roots else find_files(folder)
    if not roots and not files:
        raise DataError(
            f"{folder} has no known layout: neither Annotations and JPEGImages (VOC) "
            "nor annotations/instances_<split>.json (COCO)"
        )
    return roots, files
