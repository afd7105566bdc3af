"""The orderings that the paper's numbers have, as claims about rows, and a table of what measurements say of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import combinations, groupby, pairwise
from typing import Any, NamedTuple

import pandas as pd

from analysis.lib import significance
from analysis.lib.measures import Runs
from can.commands.methods import preset
from can.commands.scales import MODEL_ROLES
from can.commands.spec import Spec

RULE = (
    "Differences in points with their 95 % intervals, of the seeds' standard deviation, pooled over all rows that "
    "train as long, and of the finite test set; rows are paired by seed. The verdict is of each by itself: what "
    "is decided is on the page of claims, which adjusts for all of them. One seed decides nothing."
)


class Printed(NamedTuple):
    """A row of a table that the paper prints a number for."""

    spec: Spec
    value: float


class Ordering(NamedTuple):
    """Two rows, of which the first should be above the second."""

    title: str  # of the group of claims that it belongs to
    where: str
    above: Hashable  # a Spec, or whatever tells a row from others
    below: Hashable
    paper: float | None  # points between them in the paper; None for what the paper does not have


def paper_claims(rows: Sequence[Printed]) -> list[Ordering]:
    """The paper's orderings among its own rows: of methods, of training lengths and of sizes, all else equal.

    Methods with equal numbers are not ordered.
    """
    claims = []
    for group in _groups(rows, lambda row: (row.spec.model, row.spec.epochs)):
        for above, below in combinations(sorted(group, key=lambda row: row.value, reverse=True), 2):
            if above.value > below.value:
                title = f"{_method(above)} above {_method(below)} at equal size and epochs"
                claims.append(_claim(title, f"{_model(above)} {above.spec.epochs:g}", above, below))
    claims.sort(key=lambda claim: claim.title)
    for group in _groups(rows, lambda row: (row.spec.method, row.spec.model)):
        for short, long in pairwise(sorted(group, key=lambda row: row.spec.epochs)):
            where = f"{_method(long)} {_model(long)} {short.spec.epochs:g} → {long.spec.epochs:g}"
            claims.append(_claim("Longer pre-training is better", where, long, short))
    for group in _groups(rows, lambda row: (row.spec.method, row.spec.epochs)):
        for small, large in pairwise(sorted(group, key=lambda row: row.spec.model)):  # "vit_b" < "vit_l"
            where = f"{_method(large)} {large.spec.epochs:g}"
            claims.append(_claim("The larger encoder is better", where, large, small))
    return claims


def above_untrained(rows: Sequence[Spec], untrained: Sequence[Spec]) -> list[Ordering]:
    """Every trained row against the untrained encoder of its size."""
    baseline = {spec.model: spec for spec in untrained}
    return [_above(spec, baseline[spec.model], "untrained") for spec in rows]


def above_pixels(rows: Sequence[Spec], pixels: Spec) -> list[Ordering]:
    """Every trained row against the raw pixels."""
    return [_above(spec, pixels, "raw pixels") for spec in rows]


def judged(claims: Sequence[Ordering], runs: Runs, evaluation: str, metric: str = "top1") -> pd.DataFrame:
    """The claims with what the runs of one source say: see `analysis.lib.pools.PooledRuns.contrast`."""
    verdicts = runs.contrast(
        evaluation, metric, [significance.difference(claim.above, claim.below) for claim in claims]
    )
    above, below = ([claim[side] for claim in claims] for side in (2, 3))
    verdicts = verdicts.assign(above=pd.Series(above, dtype=object), below=pd.Series(below, dtype=object))
    return pd.concat([pd.DataFrame(claims, columns=Ordering._fields)[["title", "where", "paper"]], verdicts], axis=1)


def table(claims: Sequence[Ordering], by_source: dict[str, pd.DataFrame], digits: int = 1) -> pd.DataFrame:
    """A line a claim that some source measures: the paper's difference, then `with_verdicts`."""
    columns: dict[str, Any] = {
        "Claim": [claim.title for claim in claims],
        "Where": [claim.where for claim in claims],
        "Paper": [None if claim.paper is None else signed(claim.paper, digits) for claim in claims],
    }
    return with_verdicts(pd.DataFrame(columns, dtype=object), by_source, digits)


def with_verdicts(claims: pd.DataFrame, by_source: dict[str, pd.DataFrame], digits: int = 1) -> pd.DataFrame:
    """A table of claims with each source's difference, its interval and the verdict; without what nobody measures.

    `by_source` has what `analysis.lib.significance.compare` returned on the claims.
    """
    columns: dict[str, list[str | None]] = {}
    measured = pd.Series(False, index=claims.index)
    for source, verdicts in by_source.items():
        columns[source.capitalize()] = [_interval(line, digits) for line in verdicts.itertuples()]
        columns[f"{source.capitalize()}: verdict"] = list(verdicts["verdict"])
        measured |= verdicts["verdict"] != significance.MISSING
    return claims.assign(**columns)[measured]


def signed(points: float, digits: int = 1) -> str:
    """`+1.2`, `−1.2` or `0.0`."""
    return f"{0:.{digits}f}" if round(points, digits) == 0 else f"{points:+.{digits}f}".replace("-", "−")


def _interval(line: Any, digits: int) -> str | None:
    if pd.isna(line.difference):
        return None
    difference, low, high = (signed(points, digits) for points in (line.difference, line.low, line.high))
    return f"{difference} (one seed)" if line.seeds < 2 else f"{difference} [{low}, {high}]"


def _above(spec: Spec, baseline: Spec, what: str) -> Ordering:
    where = f"{preset(spec.method).title} {MODEL_ROLES[spec.model]} {spec.epochs:g}"
    return Ordering(f"Trained above {what}", where, spec, baseline, None)


def _claim(title: str, where: str, above: Printed, below: Printed) -> Ordering:
    return Ordering(title, where, above.spec, below.spec, above.value - below.value)


def _method(row: Printed) -> str:
    return preset(row.spec.method).title


def _model(row: Printed) -> str:
    return MODEL_ROLES[row.spec.model]


def _groups(rows: Sequence[Printed], key: Callable[[Printed], Any]) -> list[list[Printed]]:
    """Rows of equal key together, by rising keys."""
    return [list(group) for _, group in groupby(sorted(rows, key=key), key)]
