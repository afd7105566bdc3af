"""The look of all figures: a method has one colour, one mark and one line, nothing that a reader has to decode.

Marks and lines tell methods apart in grey too, and where colours look alike to a reader.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from scipy import special

from analysis.lib import captions, verdicts
from analysis.lib.documents import DIGITS, to_csv
from analysis.lib.results import YOURS
from analysis.lib.significance import ERROR_RATE, pooled_sd, summary
from can.commands.methods import preset
from can.commands.setting import Setting
from can.system.files import write_atomic

# By method; no two of them look alike to readers with protanopia, deuteranopia or tritanopia (tests/test_figures.py).
COLORS = {"can": "#1aa865", "simclr": "#eb6810", "mae": "#355ce6", "supervised": "#960287", "pyramid_at": "#654400"}
MARKERS = {"can": "o", "simclr": "s", "mae": "^", "supervised": "D", "pyramid_at": "v"}
LINES = {"can": "-", "simclr": "--", "mae": "-.", "random": ":", "pixels": (0, (6, 2, 1, 2, 1, 2))}
HATCHES = {"can": "", "simclr": "///", "mae": "..."}  # of bars
GREY = "#626262"
SMALL = 7.0  # points, of notes
DODGE = 5.0  # points between methods that stand at one place
INTERVALS = "Small marks are seeds; large ones are means with the 95 % interval of the mean (Student's t, pooled)."
ONE_SEED = "One seed: no interval."
BORROWED = "Dotted intervals are of one seed, with the deviation of other rows: they decide nothing."


class Look(NamedTuple):
    """Of a mark."""

    color: str
    marker: str
    face: str


FOR, AGAINST = "#1aa865", "#960287"
# By what is said of the direction of a claim: what is decided is filled.
VERDICTS = {
    verdicts.AGREES: Look(FOR, "o", FOR),
    verdicts.DISAGREES: Look(AGAINST, "X", AGAINST),
    verdicts.LEANS: Look(FOR, "o", "white"),
    verdicts.AGAINST: Look(AGAINST, "X", "white"),
    verdicts.NO_DIFFERENCE: Look(GREY, "s", GREY),
    verdicts.OPEN: Look(GREY, "D", "white"),
}
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "grid.alpha": 0.25,
    "font.size": 9,
    "legend.frameon": False,
    "legend.handlelength": 3.2,  # so that a dashed line shows its dashes
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
    "pdf.compression": 0,  # two files can be compared as text
}
plt.rcdefaults()  # whatever a matplotlibrc sets: the published pictures are remade to the byte
plt.rcParams.update(STYLE)


def subplots(
    columns: int, rows: int = 1, *, width: float = 3.4, height: float = 2.8, share: Any = False
) -> tuple[Figure, list[Axes]]:
    """Panels in this style, row by row; sizes in inches, of one panel. `share`: as matplotlib's `sharey`."""
    figure, axes = plt.subplots(rows, columns, figsize=(columns * width, rows * height), squeeze=False, sharey=share)
    for one in axes.flat:
        one.tick_params(labelleft=True)
    return figure, list(axes.flat)


def title(axes: Axes, roles: str, here: str = "") -> None:
    """Heads a panel: the paper's roles, and below them what plays them. Names of data sets are no formulas."""
    axes.set_title("\n".join(filter(None, [roles, here])), parse_math=False)


def interval(
    axes: Axes,
    runs: pd.DataFrame,
    at: str,
    method: str,
    *,
    line: bool = True,
    label: bool = False,
    dodge: float = 0.0,
) -> None:
    """Draws each run of one method as a dot, and at each place the mean of its runs with its 95 % interval, if any.

    Args:
      axes: the panel.
      runs: a line a run, with the columns of `with_intervals`.
      at: the column that says where a run stands on the x axis.
      method: whose colour, mark and line these are.
      line: whether one goes through the means.
      label: whether the legend names the method here; it shows a bar where one is drawn.
      dodge: how far beside its place all of it stands, in points.
    """
    if runs.empty:
        return
    color, marker, style = COLORS[method], MARKERS[method], LINES.get(method) if line else "none"
    means = runs.drop_duplicates(at).sort_values(at)
    name = preset(method).title if label else None
    drawn: list[Artist] = []
    if (runs.groupby(at).size() > 1).any():
        drawn += axes.plot(runs[at], runs["value"], marker, color=color, markersize=3.5, alpha=0.5, markeredgewidth=0)
    looks: dict[str, Any] = {"color": color, "marker": marker, "markersize": 5, "markerfacecolor": "white"}
    if means["low"].isna().all():
        drawn += axes.plot(means[at], means["mean"], linestyle=style, label=name, **looks)
    else:
        single = means[at].map(runs.groupby(at).size()) == 1
        reach = (means["high"] - means["mean"]).mask(single)
        bars = axes.errorbar(means[at], means["mean"], yerr=reach, linestyle=style, capsize=2, label=name, **looks)
        drawn += bars.get_children()
        if single.any():
            lone = means[single]
            (dotted,) = axes.errorbar(lone[at], lone["mean"], lone["high"] - lone["mean"], fmt="none", ecolor=color)[2]
            dotted.set(linestyle=":", gid=BORROWED)
            drawn.append(dotted)
    aside = ScaledTranslation(dodge / 72, 0, axes.figure.dpi_scale_trans)
    for artist in drawn:
        artist.set_transform(artist.get_transform() + aside)


def dodges(methods: Iterable[Any]) -> dict[str, float]:
    """By method, how far beside its place it is drawn, in points: no two intervals lie on each other."""
    names = [name for name in COLORS if name in set(methods)]
    return {name: DODGE * (place - (len(names) - 1) / 2) for place, name in enumerate(names)}


def legend(figure: Figure, columns: int = 5) -> None:
    """Names above the panels what is labelled in any of them, once."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    figure.legend(list(named.values()), list(named), loc="outside upper left", ncols=columns)


def save(
    figure: Figure, setting: Setting, name: str, drawn: pd.DataFrame | None, *, source: str, caption: str, note: str
) -> Path:
    """Writes `<name>.png`, `.pdf` and, of the numbers that are drawn, if any, `.csv` beside the reader's results.

    Below the panels stand the scale, whose numbers they are, and `note`, which says what bars and dots are; the files
    carry `caption` with all of that, so that whoever shows the picture has it. They are the same to the byte whenever
    they are made of the same numbers. Returns the path of the PNG.
    """
    folder = setting.results_dir / setting.scale.name
    folder.mkdir(parents=True, exist_ok=True)
    scale = captions.NOT_A_RESULT if setting.scale.name == "smoke" else f"Scale {setting.scale.name}"
    whose = "your" if source == YOURS else source
    borrowed = any(bars.get_gid() == BORROWED for axes in figure.axes for bars in axes.collections)
    notes = f"{note} {BORROWED}" if borrowed else note
    said = f"{', '.join([scale, f'{whose} results', *(['recast'] if setting.given else [])])}. {notes}"
    lines = textwrap.fill(said, int(figure.get_figwidth() * 21))
    figure.supxlabel(lines, x=0.01, ha="left", fontsize=SMALL, color=GREY, parse_math=False)
    whole = f"{caption} {said}"
    figure.savefig(folder / f"{name}.png", metadata={"Software": None, "Description": whole})
    about = {"Creator": None, "Producer": None, "CreationDate": None, "Subject": whole}
    figure.savefig(folder / f"{name}.pdf", metadata=about)
    plt.close(figure)
    if drawn is not None:
        write_atomic(folder / f"{name}.csv", to_csv(drawn.round(DIGITS)))
    return folder / f"{name}.png"


def with_intervals(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with three columns more: `mean` of their row, and `low` and `high`, between which it is uncertain.

    Student's t with the standard deviation of runs within rows, pooled over all trained rows of `runs`; a row that is
    not trained, which varies otherwise, has its own. A trained row of one seed borrows that of the others; without
    any, `low` and `high` are NaN. The error of the finite test set, which all rows share, is not in it. Raises
    DataError if the runs are no table as `significance.py` says.
    """
    rows = summary(runs).set_index("row").astype({"mean": float})
    trained = runs["epochs"] > 0 if "epochs" in runs else pd.Series(True, index=runs.index)
    half = pd.Series(np.nan, index=rows.index)
    for _, pool in runs.groupby(runs["row"].mask(trained, "trained"), sort=False):
        sd, df = pooled_sd(pool)
        own = rows.index.isin(list(pool["row"]))
        half[own] = (special.stdtrit(df, 1 - ERROR_RATE / 2) if df else np.nan) * sd / np.sqrt(rows["seeds"][own])
    of_rows = {"mean": rows["mean"], "low": rows["mean"] - half, "high": rows["mean"] + half}
    return runs.assign(**{name: runs["row"].map(values) for name, values in of_rows.items()})


def image_axis(axes: Axes, seen: Iterable[float]) -> None:
    """The x axis counts images, with a tick at each of the lengths that are drawn."""
    axes.set_xscale("log")
    axes.set_xticks(sorted(set(seen)), minor=False)
    axes.xaxis.set_major_formatter(lambda count, _: captions.short(count))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("images seen in pre-training")


def flops_axis(axes: Axes) -> None:
    """The x axis counts floating-point operations."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("FLOPs of pre-training")
