"""A metric over the seeds of rows, as cells of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.lib import statistics
from analysis.lib.results import Results, per_cent

Scores = Mapping[str, str]  # row -> "80.7 ± 0.4 (3)"


def cells(runs: pd.DataFrame) -> Scores:
    """Mean, standard deviation and number of seeds of each row's runs, whose values are in per cent."""
    if runs.empty:
        return {}
    return {line.row: score(line.mean, line.sd, line.seeds) for line in statistics.summary(runs).itertuples()}


def score(mean: float, sd: float | None, seeds: int) -> str:
    """`80.7 ± 0.4 (3)`; one seed has no deviation."""
    deviation = "" if sd is None or pd.isna(sd) else f" ± {sd:.1f}"
    return f"{mean:.1f}{deviation} ({seeds})"


def columns(found: Results, evaluation: str, metric: str, rows: Sequence[str]) -> dict[str, list[str | None]]:
    """A column of each source for one metric, over `rows`."""
    made = {}
    for source in found.sources:
        scores = cells(per_cent(found.of(source, evaluation, metric)))
        made[source.capitalize()] = [scores.get(row) for row in rows]
    return made


def test_images(found: Results, evaluation: str, metric: str) -> str:
    """How many images the numbers are of, as a sentence; empty if there are none."""
    records = found.records
    counts = records[(records["eval"] == evaluation) & (records["metric"] == metric)]["n"].unique()
    return f"Test images: {', '.join(f'{count:,}' for count in sorted(counts))}." if len(counts) else ""
