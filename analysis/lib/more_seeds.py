"""How many primary claims the planned looks would decide, if the differences are what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.lib import looks
from analysis.lib.claims import Judged
from analysis.lib.multiplicity import holm
from analysis.lib.verdicts import ERROR_RATE


def decided(judged: Sequence[Judged], plan: Sequence[int], seeds: int) -> int:
    """How many of the primary claims would be decided by so many seeds a row; one of a single seed never is.

    The variance over seeds and that over test images stay as they were estimated.
    """
    primary = [one for one in judged if one.claim.primary]
    p = [one.estimate.at(seeds) if one.estimate and one.estimate.at else 1.0 for one in primary]
    adjusted = np.array([looks.adjusted(value, looks.shares(plan, seeds)) for value in p])
    return int((holm(adjusted) < ERROR_RATE).sum())


def in_words(judged: Sequence[Judged], plan: Sequence[int]) -> str:
    """A sentence on the looks that are still to come; empty without any, or before a claim has two seeds."""
    there = [one.estimate.seeds for one in judged if one.claim.primary and one.estimate and one.estimate.at]
    ahead = [seeds for seeds in plan if there and seeds > min(there)]
    if not ahead:
        return ""
    counts = " and ".join(f"{decided(judged, plan, seeds)} with {seeds} seeds a row" for seeds in ahead)
    return f"If the differences are as measured, {counts} would be decided."
