"""PASCAL VOC: one xml per picture, boxes in whole pixels inside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree  # writes only; what is read goes through defusedxml

from multibox.results.files import make_folder, write_text
from multibox.results.prediction import Prediction
from multibox.results.rows import Row, rows


class VocWriter:
    """Writes `FOLDER/NAME.xml`; each object carries its `score` as one more element."""

    def __init__(self, path: Path, names: Sequence[str], ids: Sequence[int] = ()) -> None:
        """Makes the folder `path`; the dataset's `ids` are of no use here."""
        self._folder = make_folder(path)
        self._names = names

    def add(self, prediction: Prediction) -> None:
        """Writes one picture's file, also for one without detections."""
        if prediction.error is None:
            root = _annotation(prediction, [*rows(prediction.objects, self._names)])
            ElementTree.indent(root)
            text = ElementTree.tostring(root, encoding="unicode") + "\n"
            write_text(self._folder / f"{prediction.name}.xml", text)

    def close(self) -> None:
        """Every file is complete already."""

    def discard(self) -> None:
        """Every file is complete already."""


def _annotation(prediction: Prediction, found: Sequence[Row]) -> ElementTree.Element:
    """The xml of one picture."""
    root = ElementTree.Element("annotation")
    path = prediction.path
    _text(root, "folder", path.parent.name if path is not None else "")
    _text(root, "filename", path.name if path is not None and prediction.frame is None else prediction.name)
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", prediction.width), ("height", prediction.height), ("depth", 3)):
        _text(size, tag, str(value))
    _text(root, "segmented", "0")
    for row in found:
        _object(root, row, prediction.width, prediction.height)
    return root


def _object(root: ElementTree.Element, row: Row, width: int, height: int) -> None:
    """One `<object>`; a box thinner than a pixel is widened to one, as readers refuse empty boxes."""
    element = ElementTree.SubElement(root, "object")
    for tag, value in (("name", row.name), ("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
        _text(element, tag, value)
    _text(element, "score", f"{row.score:.6f}")
    x1, y1, x2, y2 = (round(side) for side in row.clipped(width, height))
    x1, y1 = min(x1, width - 1), min(y1, height - 1)
    box = ElementTree.SubElement(element, "bndbox")
    for tag, side in (("xmin", x1), ("ymin", y1), ("xmax", max(x2, x1 + 1)), ("ymax", max(y2, y1 + 1))):
        _text(box, tag, str(side))


def _text(parent: ElementTree.Element, tag: str, text: str) -> None:
    """Adds `<tag>text</tag>`."""
    ElementTree.SubElement(parent, tag).text = text
