"""Errors that a user can cause: one clear line, no traceback."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any


class UserError(Exception):
    """Wrong input or a machine that cannot serve it; its text says what was wrong, the value given and what to do."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes: without a call of `__init__`, whose arguments a subclass need not keep."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[UserError], args: tuple[Any, ...], fields: dict[str, Any]) -> UserError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class ConfigError(UserError):
    """A setting that cannot work, raised when the configuration is made, before the first expensive step."""


class DataError(UserError):
    """Data that is missing, damaged or of the wrong kind."""


def first_line(error: BaseException) -> str:
    """What an error says first, at most 200 letters, or what it is where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """Raises ConfigError naming the nearest valid choice unless `value` is one of `choices`."""
    choices = sorted(choices)
    if value in choices:
        return
    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"unknown {what} {value!r}{hint} (valid: {', '.join(choices)})")


def check_range(what: str, value: float, low: float, high: float) -> None:
    """Raises ConfigError unless `value` is finite and lies in [low, high]."""
    if not (math.isfinite(value) and low <= value <= high):
        raise ConfigError(f"{what} must lie in [{shown(low)}, {shown(high)}], not {shown(value)}")


def shown(number: float) -> str:
    """A number in an error, short where that is exact: 4294967296 is not 4.29497e+09."""
    if isinstance(number, int) and abs(number) >= 10**20:
        return f"a number of {len(str(abs(number)))} digits"
    short = f"{number:g}"
    return short if not math.isfinite(number) or float(short) == number else str(number)
