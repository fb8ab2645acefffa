"""Attempts at a shard: care from the third on, and no picture that kills twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from multibox.errors import MultiboxError
from multibox.scale.attempts import Attempts
from multibox.scale.files import locate


def test_the_third_attempt_is_careful_and_the_end_forgets(tmp_path: Path) -> None:
    place = locate(str(tmp_path))
    assert [Attempts.begin(place, 5).careful for _ in range(4)] == [False, False, True, True]
    Attempts.begin(place, 5).end()
    assert not Attempts.begin(place, 5).careful
    assert not Attempts.begin(place, 6).careful


def test_a_picture_at_which_two_workers_died_is_passed_over_others_are_not(tmp_path: Path) -> None:
    place = locate(str(tmp_path))
    for at in (2, 7, 7, 2):
        attempts = Attempts.begin(place, 0)
        assert attempts.start(1) and attempts.start(at)  # and then the worker dies
    attempts = Attempts.begin(place, 0)
    assert [attempts.start(number) for number in (1, 2, 7, 8)] == [True, False, False, True]


def test_a_shard_that_never_ends_is_given_up_with_a_sentence(tmp_path: Path) -> None:
    place = locate(str(tmp_path))
    with pytest.raises(MultiboxError, match="20 workers died on shard 4"):
        for _ in range(21):
            Attempts.begin(place, 4)


def test_a_damaged_note_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "_begun-000000.json").write_text('{"begun": ')
    assert Attempts.begin(locate(str(tmp_path)), 0).begun == 1
