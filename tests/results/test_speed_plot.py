"""The plot of a benchmark: a whole file or none, and a sentence where it cannot be made."""

from pathlib import Path

import pytest
from PIL import Image

from multibox.errors import MultiboxError, UsageError
from multibox.results.speed_plot import Bar, Line, check_plot, plot_speed

BARS = [Bar(f"engine {n}", {"decode": 1.0, "resize": 0.2, "network": 8.0, "post": -0.1}, 9.3, 12.0) for n in range(3)]
LINES = [Line("engine", [(1, 90.0), (8, 120.0), (32, 125.0)])]


@pytest.mark.slow
def test_a_plot_is_written_whole(tmp_path):
    pytest.importorskip("matplotlib")
    plot_speed(tmp_path / "new" / "speed.png", "a model", BARS, LINES)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["speed.png"]
    with Image.open(tmp_path / "new" / "speed.png") as image:
        assert image.width > 800
    plot_speed(tmp_path / "speed.svg", "a model", BARS, LINES)
    assert "<svg" in (tmp_path / "speed.svg").read_text()[:2000]


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_named(tmp_path):
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    with pytest.raises(MultiboxError, match=r"speed\.png: cannot be written"):
        plot_speed(tmp_path / "file" / "speed.png", "a model", BARS, LINES)


def test_other_endings_are_refused_before_anything_is_measured():
    with pytest.raises(UsageError, match=r"speed\.txt: a plot is written as one of \.png"):
        check_plot(Path("speed.txt"))


def test_without_matplotlib_the_sentence_names_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install matplotlib"):
        check_plot(Path("speed.png"))
