"""The measure of a claim: what it compares, and what runs say of that before other claims are thought of.

- `Difference`: a contrast of rows is positive, such as "CAN is above SimCLR".
- `EqualFlops`: a row is above what another method has at its cost.
- `Peak`: one of several rows is above another, such as "the best masking rate is not 0".
- `Flat`: some rows hardly differ.
- `OverSets`: a row is above others, by the mean over several test sets.
- `Cost`: a number that follows from the method alone, such as a ratio of floating-point operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from analysis.lib import significance
from analysis.lib.equal_compute import contrasts
from analysis.lib.significance import Contrast, average, difference
from analysis.lib.verdicts import AGREES, DISAGREES, MARGIN
from can.commands.spec import Spec

POINTS, NATS, ERROR, PERCENT, TIMES = "points", "nats", "squared error", "%", "times"


class Estimate(NamedTuple):
    """What was measured for a claim, in its unit."""

    value: float
    low: float  # of the 95 % interval
    high: float
    p: float | None = None  # two-sided, before any adjustment; None: `direction` stands
    seeds: int = 0  # the fewest of the rows
    pool: str = ""  # which runs the error is estimated from
    within: tuple[float, float] | None = None  # the 90 % interval, of points
    towards: bool = True  # whether what `p` is of is for the claim
    direction: str = ""
    note: str = ""
    at: Callable[[int], float] | None = None  # what p would be with so many seeds, if the difference is as measured


class Runs(Protocol):
    """The runs that claims are about, such as `analysis.lib.pools.PooledRuns`."""

    def contrast(self, evaluation: str, metric: str, claims: Sequence[Contrast]) -> pd.DataFrame:
        """What `significance.contrast` says of them."""
        ...

    def over_sets(self, evaluation: str, pattern: str, claims: Sequence[Contrast]) -> pd.DataFrame:
        """The same of means over the test sets whose metrics match the pattern."""
        ...

    def sets(self, evaluation: str, pattern: str) -> Sequence[tuple[str, str]]:
        """The names of these sets with their metrics."""
        ...

    def flops(self, spec: Spec) -> float:
        """Of a row's pre-training."""
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
        return None if line.verdict == significance.MISSING else _estimate(line, self.unit)


@dataclass(frozen=True)
class EqualFlops:
    """The mean, over the runs of `first` that cost what the curve of `second` reaches, of how far they are above it."""

    first: tuple[Spec, ...]
    second: tuple[Spec, ...]
    evaluation: str = "linear_probe"
    metric: str = "top1"
    unit: str = POINTS

    @property
    def rows(self) -> Sequence[Spec]:
        """Those that it compares."""
        return [*self.first, *self.second]

    def judge(self, runs: Runs) -> Estimate | None:
        """None if a row is not measured: the lengths that are compared are then not those of the paper."""
        pairs = [difference(row, self.second[0]) for row in (*self.first, *self.second[1:])]
        found = runs.contrast(self.evaluation, self.metric, pairs)
        if (found["verdict"] == significance.MISSING).any():
            return None
        costs = ({row: runs.flops(row) for row in rows} for rows in (self.first, self.second))
        at_cost = contrasts(*costs)
        return (
            Difference(average(list(at_cost.values())), self.evaluation, self.metric).judge(runs) if at_cost else None
        )


@dataclass(frozen=True)
class Peak:
    """At least one of `candidates` is above `other`."""

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
        """The best of the differences, with an interval and a p that allow for its having been chosen (Bonferroni)."""
        pairs = [difference(row, self.other) for row in self.candidates]
        found = runs.contrast(self.evaluation, self.metric, pairs)
        if (found["verdict"] == significance.MISSING).any():
            return None
        lines = list(found.itertuples())
        best = max(lines, key=lambda line: line.difference)
        one = _estimate(best, self.unit)
        assert one.p is not None
        low, high = _widest(lines, significance.ERROR_RATE / len(pairs))
        # If the best is below, then all are, and the largest p of a difference below 0 is that of the best.
        p = min(1.0, one.p * len(pairs)) if one.value > 0 else float(found["p"].max())
        return one._replace(low=low, high=high, p=p, within=_widest(lines, 2 * significance.ERROR_RATE / len(pairs)))


@dataclass(frozen=True)
class Flat:
    """No two of the rows differ by `margin` or more. The paper calls this "not sensitive" and gives no margin."""

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
        """The largest difference of two, and the p of `_equivalent`."""
        pairs = [
            difference(above, below)
            for place, above in enumerate(self.settings)
            for below in self.settings[place + 1 :]
        ]
        found = runs.contrast(self.evaluation, self.metric, pairs)
        return None if (found["verdict"] == significance.MISSING).any() else _equivalent(found, self.margin)


@dataclass(frozen=True)
class OverSets:
    """`above` is above all of `below` by the mean over test sets.

    `metrics` finds the sets: a pattern whose group is a set's name, such as `(.*)/10shot`. `equal`: the paper has them
    about equal instead, which is judged as in `Flat`.
    """

    above: Spec
    below: tuple[Spec, ...]
    evaluation: str
    metrics: str
    equal: bool = False
    unit: str = POINTS

    @property
    def rows(self) -> Sequence[Spec]:
        """Those that it compares."""
        return [self.above, *self.below]

    def judge(self, runs: Runs) -> Estimate | None:
        """The smallest of the means; on how many sets all are above is described, and judges nothing."""
        pairs = [difference(self.above, other) for other in self.below]
        found = runs.over_sets(self.evaluation, self.metrics, pairs)
        if (found["verdict"] == significance.MISSING).any():
            return None
        if self.equal:
            one = _equivalent(found, MARGIN)
        else:
            worst = min(found.itertuples(), key=lambda line: line.difference)
            one = _estimate(worst, self.unit)
            # Above all: each has to be decided. Below one: that one is, among all.
            p = float(found["p"].max()) if one.value > 0 else min(1.0, (one.p or 0.0) * len(pairs))
            one = one._replace(p=p)
        return one._replace(note=self._count(runs, pairs))

    def _count(self, runs: Runs, pairs: Sequence[Contrast]) -> str:
        sets, won = runs.sets(self.evaluation, self.metrics), 0
        for _, metric in sets:
            differences = runs.contrast(self.evaluation, metric, pairs)["difference"]
            won += bool((differences > significance.ROUNDING).all())
        return f"above on {won} of {len(sets)} sets"


@dataclass(frozen=True)
class Cost:
    """A number that follows from the method alone; it agrees if it rounds to what the paper prints."""

    value: Callable[[], float]
    printed: float
    within: float  # half of the last digit that the paper gives
    unit: str
    rows: Sequence[Spec] = ()

    def judge(self, runs: Runs) -> Estimate:
        """Without an error: nothing is drawn at random."""
        value = self.value()
        agrees = abs(value - self.printed) <= self.within
        return Estimate(value, value, value, direction=AGREES if agrees else DISAGREES)


Measure = Difference | EqualFlops | Peak | Flat | OverSets | Cost


def _estimate(line: Any, unit: str) -> Estimate:
    """Of a line of `significance.contrast`."""
    values = float(line.difference), float(line.low), float(line.high), float(line.p), line.seeds, _pool(line)
    half = _half(line, 2 * significance.ERROR_RATE)
    within = (line.difference - half, line.difference + half) if unit == POINTS else None

    def at(seeds: int) -> float:
        variance, df = line.seed_variance * line.seeds / seeds, line.df * (seeds - 1) / (line.seeds - 1)
        pieces = (np.array([x], float) for x in (line.difference, variance, line.image_variance, df))
        return float(significance.p_value(*pieces)[0])

    return Estimate(*values, within, at=at if line.seeds > 1 else None)


def _pool(line: Any) -> str:
    return f"{line.pooled} rows of {line.pool}"


def _equivalent(found: pd.DataFrame, margin: float) -> Estimate:
    """The largest difference, and whether all are within the margin: an intersection-union test.

    If all 90 % intervals are within the margin, then p is below .05 without any adjustment for their number (Berger,
    1982). Against it is a difference that is beyond the margin, among all (Bonferroni's).
    """
    lines = list(found.itertuples())
    widest = max(lines, key=lambda line: abs(line.difference))
    half = max(_half(line, significance.ERROR_RATE) for line in lines)
    value = abs(widest.difference)
    inside = value <= margin
    beyond = [_one_sided(line, margin - abs(line.difference)) for line in lines if inside or line is widest]
    p = max(beyond) if inside else min(1.0, 2 * len(lines) * beyond[0])
    interval = max(0.0, value - half), value + half
    return Estimate(value, *interval, p, int(found["seeds"].min()), _pool(widest), None, inside)


def _one_sided(line: Any, distance: float) -> float:
    """The level of the test that a difference is not so far from 0 as it seems to be, or not so near."""
    if line.seeds < 2:
        return 1.0
    arrays = (np.array([x], float) for x in (distance, line.seed_variance, line.image_variance, line.df))
    return float(significance.p_value(*arrays)[0]) / 2


def _widest(lines: Sequence[Any], level: float) -> tuple[float, float]:
    """The interval of the largest of some true differences, each of which has an interval of this level."""
    halves = [_half(line, level) for line in lines]
    pairs = [(line.difference, half) for line, half in zip(lines, halves, strict=True)]
    return max(value - half for value, half in pairs), max(value + half for value, half in pairs)


def _half(line: Any, level: float) -> float:
    if line.seeds < 2:
        return math.inf
    return float(significance.half_width(level, line.seed_variance, line.image_variance, line.df))
