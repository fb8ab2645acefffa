"""What is installed is told without importing it."""

from __future__ import annotations

import sys

import pytest

from multibox import installed


def test_a_package_is_there_or_not_whatever_its_kind(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "namespace_of_nothing").mkdir()
    assert installed.is_installed("json") and installed.is_installed("namespace_of_nothing")
    assert not installed.is_installed("no_such_package") and not installed.is_installed("no_such_package.part")


def test_a_version_is_told_by_the_name_that_was_installed():
    import numpy

    assert installed.version_of("numpy") == numpy.__version__
    assert installed.version_of("no-such-distribution") is None


def test_files_of_matplotlib_are_found_without_importing_it(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.delitem(sys.modules, "matplotlib")
    photo = installed.sample_photo()
    assert photo is not None and photo.read_bytes().startswith(b"\xff\xd8")
    assert installed.matplotlib_file("no/such/file") is None
    assert "matplotlib" not in sys.modules
