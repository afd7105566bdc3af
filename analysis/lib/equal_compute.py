"""Two methods at equal floating-point operations of pre-training, by interpolation between measured lengths.

A method's runs of different lengths are points of a curve, accuracy over log FLOPs, which is taken to be straight
between two neighbours. At the cost of each run of the first method that lies within the second's range, the second's
curve is read off there. Nothing is extrapolated.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from itertools import pairwise
from typing import TypeVar

from analysis.lib.significance import Contrast

Row = TypeVar("Row", bound=Hashable)


def contrasts(first: Mapping[Row, float], second: Mapping[Row, float]) -> dict[Row, Contrast]:
    """For each row of the first method within the second's range, the first's accuracy less the second's at its cost.

    Args:
      first: the FLOPs of each row of a method, above 0.
      second: those of the other.

    Returns:
      By row of the first, weights of rows as `analysis.lib.significance.contrast` takes them: the interval has the
      error of all three rows, each by its weight.
    """
    found: dict[Row, Contrast] = {}
    by_cost = sorted(second, key=second.__getitem__)
    for row, flops in first.items():
        for cheaper, dearer in pairwise(by_cost):
            if second[cheaper] <= flops <= second[dearer] and second[cheaper] < second[dearer]:
                share = math.log(flops / second[cheaper]) / math.log(second[dearer] / second[cheaper])
                weights: dict[Hashable, float] = {cheaper: share - 1, dearer: -share}
                found[row] = {row: 1.0} | {other: weight for other, weight in weights.items() if weight}
                break
    return found
