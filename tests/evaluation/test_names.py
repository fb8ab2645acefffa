"""The detector's classes and the dataset's are brought together by name."""

import pytest

from multibox.errors import DataError
from multibox.evaluation.names import match_names


def test_names_are_matched_in_whatever_order():
    names = match_names(["dog", "cat", "cow"], ["cat", "bird", "dog"])
    assert names.label_of.tolist() == [2, 0, -1]
    assert names.missing == ("bird",)
    assert names.dropped == ("cow",)


def test_spelling_with_blanks_hyphens_and_capitals_is_the_same_name():
    assert match_names(["TV monitor", "potted-plant"], ["pottedplant", "tvmonitor"]).label_of.tolist() == [1, 0]


def test_the_very_same_name_goes_before_a_similar_one():
    assert match_names(["Cat", "cat"], ["cat", "Cat"]).label_of.tolist() == [1, 0]


def test_names_without_letters_are_compared_as_they_are():
    assert match_names(["?", "!"], ["!"]).label_of.tolist() == [-1, 0]


def test_no_common_name_is_an_error_that_shows_both_sides():
    with pytest.raises(DataError, match=r"'person', 'car'.*'persons'.*did you mean 'person'"):
        match_names(["person", "car"], ["persons"])
