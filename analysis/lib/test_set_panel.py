"""A panel of a figure: rows beside each other on each of several test sets."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes

from analysis.lib import figures, intervals
from analysis.lib.by_test_set import BySet
from experiments.harness.methods import preset
from experiments.harness.spec import Spec

COLUMNS = ["set", "method", "model", "data", "epochs", "seed", "value", "mean", "low", "high", "n"]  # of what is drawn
GAP = 0.2  # between two rows on a set; sets are 1 apart


def draw(axes: Axes, rows: Sequence[Spec], sets: BySet, untrained: Spec | None = None) -> pd.DataFrame:
    """Draws the rows, and a grey line on each set for an untrained encoder; returns what is drawn, with COLUMNS.

    Intervals are of the seeds' standard deviation over all rows that `sets` has of a set, not of the drawn ones alone.
    """
    runs = [
        intervals.of_means(of_set).assign(set=name, place=place) for place, (name, of_set) in enumerate(sets.items())
    ]
    drawn = pd.concat(runs)
    drawn = drawn[drawn["row"].isin([*rows, untrained])]
    for index, spec in enumerate(rows):
        own = drawn[drawn["row"] == spec]
        if len(own):
            beside = own.assign(at=own["place"] + GAP * (index - (len(rows) - 1) / 2))
            figures.interval(axes, beside, "at", spec.method, line=False, label=True)
    baseline = drawn[drawn["row"] == untrained].drop_duplicates("place") if untrained else drawn[:0]
    if len(baseline):
        assert untrained is not None
        half = GAP * len(rows) / 2
        places = baseline["place"]
        label = preset(untrained.method).title
        axes.hlines(baseline["mean"], places - half, places + half, color=figures.GREY, linewidth=2, label=label)
    axes.set_xticks(range(len(sets)), list(sets), rotation=20, ha="right")
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("top-1 in %")
    return drawn[COLUMNS]
