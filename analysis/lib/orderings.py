"""Which of the paper's orderings hold at a scale, as sentences computed from the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations, groupby, pairwise
from typing import NamedTuple

from analysis.lib.measurements import Score

HOLDS, UNDECIDED, FAILS, MISSING = "holds", "undecided", "does not hold", "not measured"


class Entry(NamedTuple):
    """A row of a table, as an ordering sees it; accuracies in per cent."""

    method: str
    architecture: str
    epochs: float
    paper: float | None  # None: a row that the paper does not have
    score: Score | None  # None: not measured


class Comparison(NamedTuple):
    """Two rows, of which the first should be above the second."""

    where: str
    above: Entry
    below: Entry

    @property
    def gap(self) -> float | None:
        """Points by which `above` is above; None if either is not measured."""
        if self.above.score is None or self.below.score is None:
            return None
        return self.above.score.mean - self.below.score.mean

    @property
    def paper_gap(self) -> float | None:
        """The same in the paper."""
        if self.above.paper is None or self.below.paper is None:
            return None
        return self.above.paper - self.below.paper

    @property
    def spread(self) -> float | None:
        """Standard deviation of the difference of two runs, in points; None unless both rows have several seeds."""
        scores = (self.above.score, self.below.score)
        deviations = [score.sd for score in scores if score is not None and score.sd is not None]
        return math.hypot(*deviations) if len(deviations) == 2 else None

    @property
    def verdict(self) -> str:
        """HOLDS or FAILS by the sign of the gap, UNDECIDED if the gap is within the spread, MISSING without numbers."""
        if self.gap is None:
            return MISSING
        if self.spread is not None and abs(self.gap) <= self.spread:
            return UNDECIDED
        return HOLDS if self.gap > 0 else FAILS

    def __str__(self) -> str:
        if self.gap is None:
            return f"{self.where} {MISSING}"
        aside = [] if self.spread is None else [f"spread {self.spread:.1f}"]
        aside += [] if self.paper_gap is None else [f"paper {_signed(self.paper_gap)}"]
        text = f"{self.where} {_signed(self.gap)}" + (f" ({', '.join(aside)})" if aside else "")
        return text if self.verdict == HOLDS else f"{text} **{self.verdict}**"


class Claim(NamedTuple):
    """An ordering, with every pair of rows that it speaks of."""

    title: str
    comparisons: Sequence[Comparison]

    def __str__(self) -> str:
        measured = [one for one in self.comparisons if one.verdict != MISSING]
        held = sum(one.verdict == HOLDS for one in measured)
        if not measured:
            return f"{self.title}: {MISSING}."
        return f"{self.title}: holds in {held} of {len(measured)}. {'; '.join(map(str, self.comparisons))}."


def paper_claims(entries: Sequence[Entry]) -> list[Claim]:
    """The paper's orderings among its own rows: of methods, of training lengths and of sizes, all else equal."""
    printed = [entry for entry in entries if entry.paper is not None]
    methods: dict[str, list[Comparison]] = {}
    for group in _groups(printed, lambda one: (one.architecture, one.epochs)):
        for above, below in combinations(sorted(group, key=lambda one: one.paper or 0.0, reverse=True), 2):
            title = f"{above.method} above {below.method} at equal size and epochs"
            where = f"{above.architecture} {above.epochs:g}"
            methods.setdefault(title, []).append(Comparison(where, above, below))
    longer = [
        Comparison(f"{long.method} {long.architecture} {short.epochs:g} → {long.epochs:g}", long, short)
        for group in _groups(printed, lambda one: (one.method, one.architecture))
        for short, long in pairwise(sorted(group, key=lambda one: one.epochs))
    ]
    larger = [
        Comparison(f"{large.method} {large.epochs:g}", large, small)
        for group in _groups(printed, lambda one: (one.method, one.epochs))
        for small, large in pairwise(sorted(group, key=lambda one: one.architecture))  # "ViT-B" < "ViT-L"
    ]
    claims = [Claim(title, comparisons) for title, comparisons in methods.items()]
    claims += [Claim("Longer pre-training is better", longer), Claim("The larger encoder is better", larger)]
    return [claim for claim in claims if claim.comparisons]


def above_random(entries: Sequence[Entry], untrained: Sequence[Entry]) -> Claim:
    """Every trained row against the randomly initialised encoder of its size."""
    baseline = {entry.architecture: entry for entry in untrained}
    return Claim(
        "Trained above randomly initialised",
        [
            Comparison(f"{one.method} {one.architecture} {one.epochs:g}", one, baseline[one.architecture])
            for one in entries
        ],
    )


def summary(claims: Sequence[Claim]) -> str:
    """One sentence that counts the verdicts."""
    verdicts = [one.verdict for claim in claims for one in claim.comparisons]
    count = verdicts.count
    total = len(verdicts) - count(MISSING)
    if not total:
        return "None of the paper's orderings can be judged yet: their rows are not measured."
    return (
        f"Of the paper's {len(verdicts)} orderings between two rows, {total} can be judged here. "
        f"Holds: {count(HOLDS)}. Does not hold: {count(FAILS)}. "
        f"Undecided, because the difference is within the seeds' spread: {count(UNDECIDED)}."
    )


def _groups(entries: Sequence[Entry], key: Callable[[Entry], tuple[str, float] | tuple[str, str]]) -> list[list[Entry]]:
    """Entries of equal key together, by rising keys."""
    return [list(group) for _, group in groupby(sorted(entries, key=key), key)]


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")
