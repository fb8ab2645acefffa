"""The house stands: a room imports only from its own floor's room or from floors below."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "multibox"
FLOORS = (
    ("spec", "sheet", "results", "errors", "installed"),
    ("boxes", "images", "weights"),
    ("network", "data"),
    ("zoo",),
    ("prediction",),
    ("evaluation", "exporting", "scale", "serving"),
    ("training",),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS, 1) for room in rooms}
GROUND = ("spec", "sheet", "errors", "installed")
"""Modules rather than rooms: all of floor 1 and 2 may use them."""

FACE = ("__init__", "__main__")
"""The public face and the command's entry stand in front of the house, on no floor."""


def files() -> list[Path]:
    return sorted(
        path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0].split(".")[0] not in FACE
    )


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in it, as dotted names below `multibox`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports by a relative name"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module == "multibox" else {str(node.module)}
    return {name.removeprefix("multibox.") for name in found if name.startswith("multibox.")}


def test_every_room_has_its_floor():
    assert {room_of(path) for path in files()} <= set(FLOOR)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_from_its_room_and_the_floors_below(path):
    room = room_of(path)
    for name in imported(path):
        other = name.split(".")[0]
        if other == "__version__" and room == "cli":
            continue
        allowed = other == room or FLOOR.get(other, 99) < FLOOR[room] or (other in GROUND and FLOOR[room] == 1)
        assert allowed, f"{path.relative_to(PACKAGE)} ({room}) imports multibox.{name}"


def test_the_ground_itself_imports_nothing_but_errors():
    assert imported(PACKAGE / "errors.py") == set()
    for part in (PACKAGE / "spec").glob("*.py"):
        assert {name.split(".")[0] for name in imported(part)} <= {"spec"}
    assert imported(PACKAGE / "sheet.py") == {"errors", "spec"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_first_line_of_a_module_says_its_duty(path):
    duty = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert duty, f"{path} has no docstring"
