"""A claim of the paper as data, and the board on which all claims are judged together.

docs/claims.md says by which rules, and `analysis.lib.verdicts` with which words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analysis.lib import looks, verdicts
from analysis.lib.measures import POINTS, Estimate, Measure, Runs
from analysis.lib.multiplicity import benjamini_hochberg, holm
from analysis.lib.verdicts import NOT_MEASURED


@dataclass(frozen=True, eq=False)
class Claim:
    """One sentence of the paper; equal to itself alone.

    Attributes:
      place: where the paper says it.
      text: what it says, in our words.
      item: the script of experiments/ that makes what it needs; "" if nothing has to be run.
      measure: what is compared.
      paper: what the paper prints for it, in the measure's unit; None if it prints nothing.
      printed: the same as a text, where it is no number of the measure, such as a count of sets.
      primary: its number among the twelve that docs/claims.md fixes; 0 for a secondary one.
      read: whether the paper's table shows it, and no sentence of the paper says it.
    """

    place: str
    text: str
    item: str
    measure: Measure
    paper: float | None = None
    printed: str = ""
    primary: int = 0
    read: bool = False


class Judged(NamedTuple):
    """A claim with what was measured of it."""

    claim: Claim
    estimate: Estimate | None
    direction: str
    size: str | None
    adjusted: float | None  # p after the adjustments for the looks and for the other claims


def board(claims: Sequence[Claim], runs: Runs, plan: Sequence[int] = ()) -> list[Judged]:
    """Every claim judged: Holm's rule over the primary ones, Benjamini and Hochberg's over the others that are tested.

    `plan`: the numbers of seeds at which the scale is looked at.
    """
    estimates = [claim.measure.judge(runs) for claim in claims]
    p = np.array(
        [
            np.nan if one is None or one.p is None else looks.adjusted(one.p, looks.shares(plan, one.seeds))
            for one in estimates
        ]
    )
    primary = np.array([claim.primary > 0 for claim in claims], bool)
    # What is not measured of the primary ones still counts among them: they are as many as were fixed.
    adjusted = np.where(primary, 1.0, np.nan)
    adjusted[primary] = holm(np.where(np.isnan(p[primary]), 1.0, p[primary]))
    secondary = ~primary & ~np.isnan(p)
    adjusted[secondary] = benjamini_hochberg(p[secondary])
    return [_judged(*each) for each in zip(claims, estimates, adjusted, strict=True)]


def _judged(claim: Claim, one: Estimate | None, adjusted: float) -> Judged:
    if one is None:
        return Judged(claim, None, NOT_MEASURED, None, None)
    if one.p is None:
        return Judged(claim, one, one.direction, None, None)
    towards = one.value if one.towards else -abs(one.value)
    within = one.within if claim.measure.unit == POINTS else None
    return Judged(
        claim,
        one,
        verdicts.direction(towards, one.p, adjusted, within),
        verdicts.size(one.low, one.high, claim.paper),
        float(adjusted),
    )


def by_number(judged: Sequence[Judged]) -> Mapping[int, Judged]:
    """The primary claims by their numbers."""
    return dict(sorted((one.claim.primary, one) for one in judged if one.claim.primary))
