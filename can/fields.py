"""What a field of a configuration may hold, said where it is declared: `mask_rate: Share = 0.5`."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

from can.errors import ConfigError, check_choice, shown

_MOST = 2**31 - 1  # what 32 bits count
_LARGE = 1e30  # more is a slip of the pen


@dataclass(frozen=True)
class Within:
    """The smallest and the largest value of a number, or of each of several; an `open` end is not among them."""

    low: float
    high: float
    open: str = ""  # "low" or "high"

    def holds(self, value: float) -> bool:
        """Whether the value may be; what is not finite may not, since both ends are."""
        above = self.low < value if self.open == "low" else self.low <= value
        return above and (value < self.high if self.open == "high" else value <= self.high)

    def __str__(self) -> str:
        left, right = "(" if self.open == "low" else "[", ")" if self.open == "high" else "]"
        return f"{left}{shown(self.low)}, {shown(self.high)}{right}"


@dataclass(frozen=True)
class OneOf:
    """The words that a text may be."""

    words: tuple[str, ...]


Count = Annotated[int, Within(1, _MOST)]
CountOrZero = Annotated[int, Within(0, _MOST)]
Pixels = Annotated[int, Within(1, 4096)]
Width = Annotated[int, Within(1, 65_536)]
Depth = Annotated[int, Within(1, 1000)]
DepthOrZero = Annotated[int, Within(0, 1000)]
Share = Annotated[float, Within(0, 1)]
ShareBelowOne = Annotated[float, Within(0, 1, open="high")]
Positive = Annotated[float, Within(0, _LARGE, open="low")]
NotNegative = Annotated[float, Within(0, _LARGE)]


class Checked:
    """Base of configurations: a dataclass whose fields are checked when it is made.

    `said` stands before a field's name in errors.
    """

    said: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Raises ConfigError for the first field that holds what its declaration does not allow."""
        own: Any = type(self)
        declared = _declared(own)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            check_value(f"{self.said}{field.name}", getattr(self, field.name), declared[field.name])


def check_value(what: str, value: Any, declared: Any) -> None:
    """Raises ConfigError unless `value` is what a declaration, such as `Share`, allows."""
    kind, *allowed = get_args(declared) if get_origin(declared) is Annotated else (declared,)
    several = get_origin(kind) is tuple
    if several and (not isinstance(value, tuple | list) or not value):
        raise ConfigError(f"{what} must be whole numbers, not {value!r}")
    for each in value if several else [value]:
        _check_kind(what, each, get_args(kind)[0] if several else kind)
        for rule in allowed:
            if isinstance(rule, Within) and not rule.holds(each):
                raise ConfigError(f"{what} must lie in {rule}, not {shown(each)}")
            if isinstance(rule, OneOf):
                check_choice(what, each, rule.words)


@functools.cache
def _declared(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _check_kind(what: str, value: Any, kind: Any) -> None:
    if kind is int and (not isinstance(value, int) or isinstance(value, bool)):
        raise ConfigError(f"{what} must be a whole number, not {value!r}")
    if kind is float and (not isinstance(value, int | float) or isinstance(value, bool)):
        raise ConfigError(f"{what} must be a number, not {value!r}")
    if kind in (bool, str) and not isinstance(value, kind):
        raise ConfigError(f"{what} must be {'yes or no' if kind is bool else 'a text'}, not {value!r}")
