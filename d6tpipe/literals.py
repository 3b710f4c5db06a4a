"""Values in expressions: what is written after a sign, compared with the value that a task has."""

from __future__ import annotations

import datetime
import functools
import numbers
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from pathlib import PurePath
from typing import Any

__all__ = ["NUMBER", "Literal", "NoOrder"]


class NoOrder(Exception):
    """A value cannot be ordered against what was written; the text tells what it is compared by."""


NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NO_DIGITS = {"nan", "inf", "-inf", "+inf", "infinity", "-infinity", "+infinity"}
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
# Not fromisoformat: what it takes differs between Python 3.10 and 3.11, and it knows no months and no hours alone.
_MOMENT = re.compile(
    r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2})"
    r"(?:[T ]([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:\.([0-9]{1,6}))?)?)?)?)?)?"
)


@dataclass(frozen=True)
class Literal:
    """A value as it was written. What it is follows from the value of the parameter that it is compared with."""

    text: str
    quoted: bool

    @functools.cached_property
    def number(self) -> int | float | None:
        if not NUMBER.fullmatch(self.text) and self.text.lower() not in _NO_DIGITS:
            return None
        try:
            return int(self.text)
        except ValueError:  # not whole, or more digits than Python converts
            return float(self.text)

    @functools.cached_property
    def decimal(self) -> Decimal | None:
        try:
            return None if self.number is None else Decimal(self.text)
        except InvalidOperation:
            return Decimal(self.number or 0)

    @functools.cached_property
    def moment(self) -> datetime.datetime | None:
        """The start of the year, month, day, hour, minute or second that is written."""
        match = _MOMENT.fullmatch(self.text)
        if match is None:
            return None
        year, month, day, hour, minute, second, fraction = match.groups(default="")
        try:
            clock = (int(hour or 0), int(minute or 0), int(second or 0), int(fraction.ljust(6, "0")))
            return datetime.datetime(int(year), int(month or 1), int(day or 1), *clock)
        except ValueError:
            return None

    def test(self, sign: str) -> Callable[[Any], bool]:
        """Return what tells of a value whether the comparison holds."""
        if sign in _ORDER:
            return functools.partial(self.orders, _ORDER[sign])
        return (lambda value: not self.equals(value)) if sign == "!=" else self.equals

    def equals(self, value: Any) -> bool:
        """Return whether this is the value, or its text."""
        if isinstance(value, Enum):
            return self.text in (value.name, str(value)) or self.equals(value.value)
        if isinstance(value, str):
            return value == self.text
        if value is None:
            return self.text.lower() in ("none", "null")
        if isinstance(value, bool):
            return _TRUTH.get(self.text.lower()) is value
        if isinstance(value, PurePath):
            return value == type(value)(self.text)
        return self._same(value) or str(value) == self.text

    def _same(self, value: Any) -> bool:
        if isinstance(value, (int, float)):
            number = self.number
            return value == number if number is None or number == number else value != value
        if isinstance(value, Decimal):
            return value == self.decimal
        if isinstance(value, numbers.Number):  # those of numpy, fractions
            return bool(value == self.number)
        if isinstance(value, datetime.date):
            return self.moment is not None and bool(_moment(value) == self._near(value))
        return isinstance(value, datetime.timedelta) and value.total_seconds() == self.number

    def orders(self, compare: Callable[[Any, Any], bool], value: Any) -> bool:
        """Return whether `value` stands on the right side of this; None stands on neither.

        Raises
        ------
        NoOrder
            If there is no order between the two.
        """
        if isinstance(value, Enum):
            return self.orders(compare, value.value)
        if value is None:
            return False
        if isinstance(value, (str, PurePath)):
            if not self.quoted and NUMBER.fullmatch(self.text):
                raise NoOrder(f'text; to compare with the text of a number, put it in quotes: "{self.text}"')
            return compare(str(value), self.text)
        if isinstance(value, bool):
            raise NoOrder("= and != only")
        if isinstance(value, (numbers.Real, Decimal)):
            mine = self.decimal if isinstance(value, Decimal) else self.number
            if mine is None:
                raise NoOrder("number")
            try:
                return bool(compare(value, mine))
            except InvalidOperation:  # a Decimal that is no number
                return False
        if isinstance(value, datetime.date):
            if self.moment is None:
                raise NoOrder("date, such as 2020-01-31 or 2020-01-31T12:30")
            return bool(compare(_moment(value), self._near(value)))
        if isinstance(value, datetime.timedelta):
            if self.number is None:
                raise NoOrder("number of seconds")
            return compare(value.total_seconds(), self.number)
        raise NoOrder("= and != only")

    def _near(self, value: datetime.date) -> datetime.datetime | None:
        """Return the moment, in the time zone of `value` if that has one."""
        zone = getattr(value, "tzinfo", None)
        return self.moment.replace(tzinfo=zone) if zone is not None and self.moment is not None else self.moment


def _moment(value: datetime.date) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    return datetime.datetime(value.year, value.month, value.day)
