"""Panels of figures that show the linear probe over one setting, and where the paper's choice is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from analysis.lib import figures, intervals
from analysis.lib.paper import paper_values, printed_at
from analysis.lib.results import Results, per_cent
from experiments.harness.spec import Spec

DRAWN = ["panel", "method", "setting", "at", "seed", "value", "mean", "low", "high", "source"]


def swept(found: Results, source: str, name: str, specs: Mapping[str, Sequence[Spec]], panel: str) -> pd.DataFrame:
    """The top-1 in per cent of the runs of a panel, by method, with the intervals of their means and DRAWN.

    `at` is the value of the setting `name`, which every spec has among its overrides. The standard deviation of the
    intervals is pooled over the panel.
    """
    runs = per_cent(found.of(source, "linear_probe", "top1"))
    runs = runs[runs["row"].isin([spec for own in specs.values() for spec in own])]
    at = [float(dict(spec.overrides)[name]) for spec in runs["row"]]
    return intervals.of_means(runs.assign(panel=panel, setting=name, at=at)).reset_index(drop=True)[DRAWN]


def draw(axes: Axes, runs: pd.DataFrame, *, label: bool) -> None:
    """Every method of `swept`, or that nothing is measured."""
    if runs.empty:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=figures.GREY)
        axes.set_yticks([])
    for method, own in runs.groupby("method", sort=False):
        figures.interval(axes, own, "at", str(method), label=label)


def mark_choice(axes: Axes, place: str, metric: str) -> None:
    """A thin line at what the paper chose for CAN, as it prints it; shares that are printed in per cent as shares."""
    (value,) = {value for value in printed_at(paper_values(), place, metric) if value.method == "CAN"}
    at = value.number / 100 if value.unit == "%" else value.number
    axes.axvline(at, color=figures.GREY, linewidth=0.8, zorder=1)
    axes.annotate(
        "paper's choice",
        (at, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(2, 0),
        textcoords="offset points",
        fontsize=figures.SMALL,
        color=figures.GREY,
    )
