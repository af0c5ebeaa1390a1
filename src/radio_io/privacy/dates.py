"""What becomes of dates: moved back by whole weeks per patient, cut to the year, or dropped.

Comes in: a date of a header and the patient's shift. Goes out: the date or year that may be stored, never both of a
true year and a shifted date. Refuses nothing: a date that cannot be moved is dropped.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum


class DatePolicy(StrEnum):
    """How study dates are stored."""

    SHIFT = "shift"
    YEAR = "year"
    DROP = "drop"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredDate:
    """What may be stored of a date: a shifted date, or the true year, or neither."""

    shifted: date | None = None
    year: int | None = None


def shift_date(day: date, days: int) -> date | None:
    """The date `days` earlier, or None before the year 1.

    Example:
        >>> shift_date(date(2020, 3, 11), 70)
        datetime.date(2020, 1, 1)
    """
    try:
        return day - timedelta(days=days)
    except OverflowError:
        return None


def stored_date(day: date | None, policy: DatePolicy, shift_days: int) -> StoredDate:
    """What the policy leaves of a date; `shift_days` is the patient's, a multiple of 7.

    Example:
        >>> stored_date(date(2020, 3, 11), DatePolicy.YEAR, 70)
        StoredDate(shifted=None, year=2020)
    """
    if day is None or policy is DatePolicy.DROP:
        return StoredDate()
    if policy is DatePolicy.YEAR:
        return StoredDate(year=day.year)
    return StoredDate(shifted=shift_date(day, shift_days))
