"""COCO results: a list of `{image_id, category_id, bbox: [x, y, width, height], score}`, as the COCO tools read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from multibox.results.formats.stream import JsonList
from multibox.results.prediction import Prediction
from multibox.results.rows import rows


class CocoWriter:
    """Writes `NAME.json` (the results) and `NAME_images.json` (images, their sizes and ids, and the categories)."""

    def __init__(self, path: Path, names: Sequence[str], ids: Sequence[int] = ()) -> None:
        """Opens both files; `ids` are the category ids, one per name (empty: 1..n)."""
        self._names = names
        self._ids = list(ids) or list(range(1, len(names) + 1))
        self._numbers = ImageNumbers()
        self._results = JsonList(path)
        categories = [{"id": i, "name": name} for i, name in zip(self._ids, names, strict=True)]
        head = f'{{"categories": {json.dumps(categories, ensure_ascii=False)},\n"images": ['
        self._images = JsonList(path.with_name(f"{path.stem}_images{path.suffix}"), head, "]}")

    def add(self, prediction: Prediction) -> None:
        """Adds one picture's detections; one without any is in the list of images only."""
        if prediction.error is not None:
            return
        image_id = self._numbers.of(prediction)
        file_name = prediction.path.name if prediction.path and prediction.frame is None else prediction.name
        self._images.add(
            {"id": image_id, "file_name": file_name, "width": prediction.width, "height": prediction.height}
        )
        for row in rows(prediction.objects, self._names):
            x1, y1, x2, y2 = row.box
            box = [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)]
            category = self._ids[row.class_id]
            self._results.add({"image_id": image_id, "category_id": category, "bbox": box, "score": row.score})

    def close(self) -> None:
        """Completes both files."""
        self._results.close()
        self._images.close()

    def discard(self) -> None:
        """Removes the unfinished files."""
        self._results.discard()
        self._images.discard()


class ImageNumbers:
    """Image ids: the number in the file's name (`000000000139.jpg` is 139), else the next number still free."""

    def __init__(self) -> None:
        """No id is taken yet."""
        self._taken: set[int] = set()
        self._next = 1

    def of(self, prediction: Prediction) -> int:
        """The id of one more picture; no id is given twice."""
        stem = prediction.path.stem if prediction.path is not None and prediction.frame is None else ""
        number = int(stem) if stem.isascii() and stem.isdigit() else self._next
        while number in self._taken:
            number = self._next
            self._next += 1
        self._taken.add(number)
        return number
