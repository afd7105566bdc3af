"""Panels of figures that several figures have: accuracy over one setting, and rows beside each other on test sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from analysis.lib import drawing
from analysis.lib.paper import paper_values, printed_at
from analysis.lib.results import Results, per_cent
from analysis.lib.test_sets import BySet
from can.commands.methods import preset
from can.commands.spec import Spec

SWEPT = ["panel", "method", "setting", "at", "seed", "value", "mean", "low", "high", "source"]
OF_SETS = [
    "set",
    "method",
    "model",
    "data",
    "epochs",
    "seed",
    "value",
    "mean",
    "low",
    "high",
    "n",
]  # on sets
GAP = 0.2  # between two rows on a set; sets are 1 apart


def swept(found: Results, source: str, name: str, specs: Mapping[str, Sequence[Spec]], panel: str) -> pd.DataFrame:
    """The top-1 in per cent of the runs of a panel, by method, with the intervals of their means and SWEPT.

    `at` is the value of the setting `name`, which every spec has among its overrides. The standard deviation of the
    intervals is pooled over the panel.
    """
    runs = per_cent(found.of(source, "linear_probe", "top1"))
    runs = runs[runs["row"].isin([spec for own in specs.values() for spec in own])]
    at = [float(dict(spec.overrides)[name]) for spec in runs["row"]]
    return drawing.with_intervals(runs.assign(panel=panel, setting=name, at=at)).reset_index(drop=True)[SWEPT]


def draw_sweep(axes: Axes, runs: pd.DataFrame, *, label: bool) -> None:
    """Every method of `swept` beside each other, or that nothing is measured."""
    if runs.empty:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=drawing.GREY)
        axes.set_yticks([])
    beside = drawing.dodges(runs["method"])
    for method, own in runs.groupby("method", sort=False):
        drawing.interval(axes, own, "at", str(method), label=label, dodge=beside[str(method)])


def mark_choice(axes: Axes, place: str, metric: str) -> None:
    """A thin line at what the paper chose for CAN, as it prints it; shares that are printed in per cent as shares."""
    (value,) = {value for value in printed_at(paper_values(), place, metric) if value.method == "CAN"}
    at = value.number / 100 if value.unit == "%" else value.number
    axes.axvline(at, color=drawing.GREY, linewidth=0.8, zorder=1, label="the paper's choice")


def draw_test_sets(axes: Axes, rows: Sequence[Spec], sets: BySet, untrained: Spec | None = None) -> pd.DataFrame:
    """Draws the rows, and a grey line on each set for an untrained encoder; returns what is drawn, with OF_SETS.

    Intervals are of the seeds' standard deviation over all rows that `sets` has of a set, not of the drawn ones alone.
    Where there is one seed, a bar is ± `spread`, the deviation over choices of the images, if the runs have it.
    """
    places = enumerate(sets.items())
    drawn = pd.concat([drawing.with_intervals(runs).assign(set=name, place=place) for place, (name, runs) in places])
    if "spread" in drawn:
        for end, sign in (("low", -1), ("high", 1)):
            drawn[end] = drawn[end].fillna(drawn["mean"] + sign * drawn["spread"])
    drawn = drawn[drawn["row"].isin([*rows, untrained])]
    for index, spec in enumerate(rows):
        own = drawn[drawn["row"] == spec]
        if len(own):
            beside = own.assign(at=own["place"] + GAP * (index - (len(rows) - 1) / 2))
            drawing.interval(axes, beside, "at", spec.method, line=False, label=True)
    baseline = drawn[drawn["row"] == untrained].drop_duplicates("place") if untrained else drawn[:0]
    if len(baseline):
        assert untrained is not None
        half = GAP * len(rows) / 2
        at = baseline["place"]
        name = preset(untrained.method).title
        axes.hlines(baseline["mean"], at - half, at + half, color=drawing.GREY, linewidth=2, label=name)
    axes.set_xticks(range(len(sets)), list(sets), rotation=20, ha="right", parse_math=False)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("top-1 in %")
    return drawn[OF_SETS]


def note(drawn: pd.DataFrame, choices: int = 0) -> str:
    """What marks and bars of `draw_test_sets` are: intervals over seeds, the spread over `choices`, or none."""
    if (drawn.groupby(["method", "model", "data", "epochs"])["seed"].nunique() > 1).any():
        return drawing.INTERVALS
    over_choices = f"One seed: bars are ± the standard deviation over {choices} choices of the training images."
    return over_choices if drawn["low"].notna().any() else drawing.ONE_SEED
