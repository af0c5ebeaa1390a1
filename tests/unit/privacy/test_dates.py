"""What is left of dates."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radio_io.privacy.dates import DatePolicy, StoredDate, shift_date, stored_date

DAYS = st.dates(date(1895, 1, 1), date(2199, 12, 31))
SHIFTS = st.integers(1, 260).map(lambda weeks: 7 * weeks)


@given(day=DAYS, shift=SHIFTS)
def test_keeps_the_day_of_the_week(day, shift):
    shifted = shift_date(day, shift)
    assert shifted is not None
    assert shifted.weekday() == day.weekday()
    assert (day - shifted).days == shift


@given(first=DAYS, second=DAYS, shift=SHIFTS)
def test_keeps_the_intervals_of_a_patient(first, second, shift):
    assert shift_date(first, shift) - shift_date(second, shift) == first - second


@given(day=DAYS, policy=st.sampled_from(DatePolicy), shift=SHIFTS)
def test_never_gives_a_shifted_date_and_a_true_year(day, policy, shift):
    stored = stored_date(day, policy, shift)
    assert stored.shifted is None or stored.year is None
    assert stored.shifted != day


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (DatePolicy.SHIFT, StoredDate(shifted=date(2020, 3, 4))),
        (DatePolicy.YEAR, StoredDate(year=2020)),
        (DatePolicy.DROP, StoredDate()),
    ],
)
def test_follows_the_policy(policy, expected):
    assert stored_date(date(2020, 3, 11), policy, 7) == expected
    assert stored_date(None, policy, 7) == StoredDate()


def test_drops_a_date_that_cannot_be_moved():
    assert shift_date(date(1, 1, 3), 7) is None
