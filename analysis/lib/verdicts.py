"""What is said of a claim: of its direction, and of its size where the paper prints a number. See docs/claims.md."""

from __future__ import annotations

import math

ERROR_RATE = 0.05
AGREES, DISAGREES = "agrees", "disagrees"  # decided after adjustment
LEANS, AGAINST = "leans to the paper", "leans against"
MARGIN = 1.0  # points
NO_DIFFERENCE = f"no difference above {MARGIN:g} point"
OPEN, NOT_MEASURED = "open", "not measured"
IN_WORDS = {  # of one and of several claims
    LEANS: ("leans to the paper", "lean to the paper"),
    AGAINST: ("leans against it", "lean against it"),
    NO_DIFFERENCE: (f"shows {NO_DIFFERENCE}", f"show {NO_DIFFERENCE}"),
    OPEN: ("is open", "are open"),
    NOT_MEASURED: ("is not measured", "are not measured"),
}
AS_PAPER, SMALLER, LARGER, CANNOT_TELL = "as the paper's", "smaller", "larger", "cannot tell"


def direction(value: float, p: float, adjusted: float, within: tuple[float, float] | None) -> str:
    """Of a difference that the paper has above 0.

    `p` is its own, and `adjusted` for other claims and looks; `within` is its 90 % interval, in points.
    """
    if adjusted < ERROR_RATE:
        return AGREES if value > 0 else DISAGREES
    if p < ERROR_RATE:
        return LEANS if value > 0 else AGAINST
    if within and within[0] >= -MARGIN and within[1] <= MARGIN:
        return NO_DIFFERENCE
    return OPEN


def by_itself(difference: float, p: float, within: tuple[float, float] | None) -> str:
    """`direction` without any adjustment, which decides nothing."""
    return direction(difference, p, 1.0, within)


def size(low: float, high: float, paper: float | None) -> str | None:
    """How a difference, between `low` and `high`, stands to the paper's; None if the paper prints none."""
    if paper is None or math.isinf(high):
        return None
    if high < paper:
        return SMALLER
    if low > paper:
        return LARGER
    return CANNOT_TELL if low <= 0 <= high else AS_PAPER
