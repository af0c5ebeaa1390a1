"""Notations of bins, and which bin an image goes to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radio_io.errors import ConfigError
from radio_io.sharding.bins import Bin, Bins

THESIS = [1152, 1536, 1920, 2304, 2688, 3072]


@pytest.mark.parametrize(
    "notation",
    ["1152,...,3072", "1152, ..., 3072", "1152,…,3072", "1152,1536,...,3072", "1152,1536,1920,2304,2688,3072"],
)
def test_reads_the_cut_offs_of_the_thesis(notation):
    bins = Bins.parse(notation)
    assert bins == Bins.from_cut_offs(THESIS, THESIS)
    assert len(bins.rectangles) == 36


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("100", [(100, 100)]),
        ("10,20,...,40", [(h, w) for h in (10, 20, 30, 40) for w in (10, 20, 30, 40)]),
        ("100x200,200x100,300x300", [(100, 200), (200, 100), (300, 300)]),
        ("100×200, 50 x 60", [(50, 60), (100, 200)]),
    ],
)
def test_reads_other_notations(notation, expected):
    assert {(each.height, each.width) for each in Bins.parse(notation).rectangles} == set(expected)


@pytest.mark.parametrize(
    "notation",
    [
        *("", "abc", "1152,...", "...,3072", "1152,...,3000", "3072,...,1152", "100,200,300,...,900"),
        *(
            "10,...,20,...,30",
            "5,5",
            "9,3",
            "0",
            "-5",
            "70000",
            "1.5",
            "10x",
            "10x20,30",
            "0x5",
            "1,2,...,65535",
            "1e3",
            "٣",
        ),
    ],
)
def test_refuses_notations_that_cannot_be_meant(notation):
    with pytest.raises(ConfigError, match="bins"):
        Bins.parse(notation)


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        (1, 1, "1152x1152"),
        (1152, 1152, "1152x1152"),
        (1153, 1152, "1536x1152"),
        (1152, 1153, "1152x1536"),
        (3072, 3072, "3072x3072"),
    ],
)
def test_gives_the_smallest_rectangle(rows, columns, expected):
    assert str(Bins.parse("1152,...,3072").assign(rows, columns)) == expected


def test_gives_none_above_the_largest():
    bins = Bins.parse("100x200,200x100")
    assert bins.assign(201, 1) is None
    assert bins.assign(150, 150) is None


def test_prefers_the_lower_of_equal_areas():
    assert Bins.parse("200x100,100x200").assign(100, 100) == Bin(height=100, width=200)


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=8),
    st.integers(1, 64),
    st.integers(1, 64),
)
def test_is_the_least_area_that_fits(pairs, rows, columns):
    bins = Bins(rectangles=tuple(Bin(height=height, width=width) for height, width in pairs))
    fitting = [each for each in bins.rectangles if each.height >= rows and each.width >= columns]
    found = bins.assign(rows, columns)
    assert (found is None) == (not fitting)
    if found is not None:
        assert found in fitting
        assert found.height * found.width == min(each.height * each.width for each in fitting)


@pytest.mark.parametrize("notation", ["1152,...,3072", "64", "100x200,200x100", "10x20"])
def test_text_gives_the_same_bins_again(notation):
    bins = Bins.parse(notation)
    assert Bins.parse(str(bins)) == bins


def test_assigns_many_at_once_as_one_by_one():
    bins, rng = Bins.parse("1152,...,3072"), np.random.default_rng(0)
    rows, columns = rng.integers(1, 3300, (2, 500))
    found = bins.assign_all(rows, columns)
    for position, height, width in zip(found, rows, columns, strict=True):
        assert bins.assign(height, width) == (None if position < 0 else bins.rectangles[position])
