"""What an importer is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A file of an unknown codebase: its tensors under its own keys, and `about`, what else stood beside them.

    Wrappers (`state_dict`, `model`) and prefixes of parallel training (`module.`) are gone already. Readers of other
    formats than torch's put the format's name there as `about["format"]`.
    """

    state: dict[str, Tensor]
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The same tensors under our keys, the full name of the sheet they belong to, and what the file says besides.

    `names` are class names that the file holds; `changes` are dotted fields of the spec in which the file differs from
    its sheet, such as `backbone.width`.
    """

    sheet: str
    state: dict[str, Tensor]
    names: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)


Importer = Callable[[Foreign], Imported | None]
"""Looks at the keys: none where they are not its codebase's. A key that it does not know it keeps, so that loading
names it. Raises `ModelError` (without the file's name) for a file of its codebase that it cannot read."""
