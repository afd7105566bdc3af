"""A claim of the paper as data, and what measurements say of it.

A claim has a measure, which says what is compared:

- `Difference`: a contrast of rows is positive, such as "CAN is above SimCLR".
- `Peak`: one of several rows is above another, such as "the best masking rate is not 0".
- `Flat`: some rows hardly differ.
- `Wins`: a difference is positive on at least so many of several test sets.
- `Cost`: a number that follows from the method alone, such as a ratio of floating-point operations.

A `Difference` and a `Peak` have a p-value; Holm's rule adjusts these for all of the board together. The others are
judged by intervals of their own, each at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from analysis.lib import significance
from analysis.lib.significance import Contrast
from can.commands.spec import Spec

REPRODUCED, CONTRADICTED, UNDECIDED, NOT_MEASURED = "reproduced", "contradicted", "undecided", "not measured"
POINTS, NATS, ERROR, SETS, PERCENT, TIMES = "points", "nats", "squared error", "test sets", "%", "times"


class Estimate(NamedTuple):
    """What was measured for a claim, in its unit."""

    value: float
    low: float  # of the 95 % interval
    high: float
    p: float | None = None  # two-sided, before Holm's adjustment; None: `verdict` stands
    verdict: str = UNDECIDED
    resolves: Callable[[float], float] | None = None  # the smallest difference that is decided at a level


class Runs(Protocol):
    """The runs of one item of the paper."""

    def contrast(self, evaluation: str, metric: str, claims: Sequence[Contrast]) -> pd.DataFrame:
        """What `significance.contrast` says of them."""
        ...

    def by_set(self, evaluation: str, pattern: str) -> Mapping[str, str]:
        """By the names of test sets, which are the pattern's group, the metrics that match the pattern."""
        ...


@dataclass(frozen=True)
class Difference:
    """A contrast of rows is positive; where less is better, such as of losses, its sign is turned beforehand."""

    contrast: Contrast
    evaluation: str = "linear_probe"
    metric: str = "top1"
    unit: str = POINTS

    @property
    def rows(self) -> Sequence[Spec]:
        """Those that it compares."""
        return [row for row in self.contrast if isinstance(row, Spec)]

    def judge(self, runs: Runs) -> Estimate | None:
        """None if a row is not measured."""
        (line,) = runs.contrast(self.evaluation, self.metric, [self.contrast]).itertuples()
        return None if line.verdict == significance.MISSING else _estimate(line)


@dataclass(frozen=True)
class Peak:
    """At least one of `candidates` is above `other`; the estimate is that of the best, which the data chose."""

    candidates: tuple[Spec, ...]
    other: Spec
    evaluation: str = "linear_probe"
    metric: str = "top1"
    unit: str = POINTS

    @property
    def rows(self) -> Sequence[Spec]:
        """Those that it compares."""
        return [*self.candidates, self.other]

    def judge(self, runs: Runs) -> Estimate | None:
        """It holds if some difference is above 0, adjusted for their number; it fails if all are below."""
        pairs = [significance.difference(row, self.other) for row in self.candidates]
        found = runs.contrast(self.evaluation, self.metric, pairs)
        if (found["verdict"] == significance.MISSING).any():
            return None
        best = _estimate(max(found.itertuples(), key=lambda line: line.difference))
        assert best.p is not None
        # If the best is below, then all are, and the largest p of a difference below 0 is that of the best.
        return best._replace(p=min(1.0, best.p * len(pairs)) if best.value > 0 else float(found["p"].max()))


@dataclass(frozen=True)
class Flat:
    """No two of the rows differ by more than `margin`. The paper calls this "not sensitive" and gives no margin."""

    settings: tuple[Spec, ...]
    margin: float
    evaluation: str = "linear_probe"
    metric: str = "top1"
    unit: str = POINTS

    @property
    def rows(self) -> Sequence[Spec]:
        """Those that it compares."""
        return self.settings

    def judge(self, runs: Runs) -> Estimate | None:
        """The largest difference, with the interval that holds all of them at once (Bonferroni's)."""
        pairs = [
            significance.difference(above, below)
            for place, above in enumerate(self.settings)
            for below in self.settings[place + 1 :]
        ]
        found = runs.contrast(self.evaluation, self.metric, pairs)
        if (found["verdict"] == significance.MISSING).any():
            return None
        level = significance.ERROR_RATE / len(pairs)
        widest = max(found.itertuples(), key=lambda line: abs(line.difference))
        halves = [_half(line, level) for line in found.itertuples()]
        sizes = found["difference"].abs().tolist()
        highest = max(size + half for size, half in zip(sizes, halves, strict=True))
        lowest = max(0.0, *(size - half for size, half in zip(sizes, halves, strict=True)))
        verdict = REPRODUCED if highest <= self.margin else CONTRADICTED if lowest > self.margin else UNDECIDED
        return Estimate(abs(widest.difference), lowest, highest, None, verdict)


@dataclass(frozen=True)
class Wins:
    """On at least `needed` of `of` test sets `above` is above all of `below`.

    Of the sets that a scale has it is as large a share. `metrics` finds them: a pattern whose group is a set's name,
    such as `(.*)/10shot`.
    """

    above: Spec
    below: tuple[Spec, ...]
    needed: int
    of: int
    evaluation: str
    metrics: str
    unit: str = SETS

    @property
    def rows(self) -> Sequence[Spec]:
        """Those that it compares."""
        return [self.above, *self.below]

    def judge(self, runs: Runs) -> Estimate | None:
        """How many sets are won by the means; the interval counts those that Holm's rule leaves open either way."""
        pairs = [significance.difference(self.above, other) for other in self.below]
        sets = runs.by_set(self.evaluation, self.metrics)
        won = surely = possibly = 0
        for metric in sets.values():
            found = runs.contrast(self.evaluation, metric, pairs)
            if (found["verdict"] == significance.MISSING).any():
                return None
            won += bool((found["difference"] > significance.ROUNDING).all())
            surely += bool((found["verdict"] == significance.HOLDS).all())
            possibly += not (found["verdict"] == significance.FAILS).any()
        if not sets:
            return None
        needed = math.ceil(self.needed / self.of * len(sets))
        verdict = REPRODUCED if surely >= needed else CONTRADICTED if possibly < needed else UNDECIDED
        return Estimate(won, surely, possibly, None, verdict)


@dataclass(frozen=True)
class Cost:
    """A number that follows from the method alone; it is reproduced if it rounds to what the paper prints."""

    value: Callable[[], float]
    printed: float
    within: float  # half of the last digit that the paper gives
    unit: str
    rows: Sequence[Spec] = ()

    def judge(self, runs: Runs) -> Estimate:
        """Without an error: nothing is drawn at random."""
        value = self.value()
        verdict = REPRODUCED if abs(value - self.printed) <= self.within else CONTRADICTED
        return Estimate(value, value, value, None, verdict)


Measure = Difference | Peak | Flat | Wins | Cost


@dataclass(frozen=True, eq=False)
class Claim:
    """One sentence of the paper; equal to itself alone.

    Attributes:
      place: where the paper says it.
      text: what it says, in our words.
      item: the script of experiments/ that makes what it needs; "" if nothing has to be run.
      measure: what is compared.
      paper: what the paper prints for it, in the measure's unit; None if it prints nothing.
    """

    place: str
    text: str
    item: str
    measure: Measure
    paper: float | None = None


class Judged(NamedTuple):
    """A claim with what was measured of it."""

    claim: Claim
    estimate: Estimate | None
    verdict: str
    resolves: float | None  # the smallest difference that would have been decided whatever the others are


def board(claims: Sequence[Claim], runs_of: Callable[[Claim], Runs]) -> list[Judged]:
    """Every claim judged; `runs_of` gives a claim's runs."""
    estimates = [claim.measure.judge(runs_of(claim)) for claim in claims]
    p = np.array([np.nan if one is None or one.p is None else one.p for one in estimates])
    tested = ~np.isnan(p)
    p[tested] = significance.holm(p[tested])
    judged = []
    for claim, one, adjusted in zip(claims, estimates, p, strict=True):
        if one is None:
            judged.append(Judged(claim, None, NOT_MEASURED, None))
            continue
        decided = REPRODUCED if one.value > 0 else CONTRADICTED
        verdict = decided if adjusted < significance.ERROR_RATE else one.verdict
        resolves = one.resolves(significance.ERROR_RATE / tested.sum()) if one.resolves else None
        judged.append(Judged(claim, one, verdict, resolves))
    return judged


def _estimate(line: Any) -> Estimate:
    """Of a line of `significance.contrast`."""
    interval = float(line.difference), float(line.low), float(line.high)
    return Estimate(*interval, float(line.p), resolves=lambda level: _half(line, level))


def _half(line: Any, level: float) -> float:
    if line.seeds < 2:
        return math.inf
    return significance.half_width(level, line.seed_variance, line.image_variance, line.df)
