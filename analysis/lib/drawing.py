"""The look of all figures: a method has one colour, one mark and one line, nothing that a reader has to decode.

Marks and lines tell methods apart in grey too, and where colours look alike to a reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator
from scipy import special

from analysis.lib.captions import NOT_A_RESULT, bullets, command_line, how_to_measure
from analysis.lib.documents import DIGITS, to_csv
from analysis.lib.significance import ERROR_RATE, pooled_sd, summary
from can.errors import DataError
from can.system.files import write_atomic
from experiments.harness.methods import preset
from experiments.harness.setting import Setting

# By method. The baselines, which are not trained, are lines without a mark.
COLORS = {"can": "#0b6e4f", "simclr": "#c8553d", "mae": "#3d5a98", "supervised": "#6b4e71", "pyramid_at": "#b58900"}
MARKERS = {"can": "o", "simclr": "s", "mae": "^", "supervised": "D", "pyramid_at": "v"}
LINES = {"can": "-", "simclr": "--", "mae": "-.", "random": ":", "pixels": (0, (6, 2, 1, 2, 1, 2))}
GREY = "#8d99ae"
# By the verdict on a claim of the paper.
VERDICTS = {"reproduced": "#0b6e4f", "contradicted": "#b23a48", "undecided": "#6c757d"}
VERDICT_MARKERS = {"reproduced": "o", "contradicted": "X", "undecided": "D"}
SMALL = 6.5  # points, of what is said in a corner
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


def subplots(columns: int, rows: int = 1, *, width: float = 3.4, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    """Panels in this style, row by row; sizes in inches, of one panel."""
    figure, axes = plt.subplots(rows, columns, figsize=(columns * width, rows * height), squeeze=False)
    return figure, list(axes.flat)


def corner(axes: Axes, setting: Setting, source: str) -> None:
    """Says beside the upper right corner of a panel at which scale its numbers were made, and whose they are."""
    scale = NOT_A_RESULT if setting.scale.name == "smoke" else setting.scale.name
    parts = ", ".join([scale, source, *(["recast"] if setting.given else [])])
    place = axes.transAxes
    axes.text(1.01, 1, parts, transform=place, rotation=270, ha="left", va="top", fontsize=SMALL, color=GREY)


def interval(axes: Axes, runs: pd.DataFrame, at: str, method: str, *, line: bool = True, label: bool = False) -> None:
    """Draws each run of one method as a dot, and at each place the mean of its runs with its 95 % interval, if any.

    Args:
      axes: the panel.
      runs: a line a run, with the columns of `with_intervals`.
      at: the column that says where a run stands on the x axis.
      method: whose colour, mark and line these are.
      line: whether one goes through the means.
      label: whether the legend names the method here.
    """
    if runs.empty:
        return
    color, marker = COLORS[method], MARKERS[method]
    axes.plot(runs[at], runs["value"], marker, color=color, markersize=3.5, alpha=0.5, markeredgewidth=0)
    means = runs.drop_duplicates(at).sort_values(at)
    axes.errorbar(
        means[at],
        means["mean"],
        yerr=[means["mean"] - means["low"], means["high"] - means["mean"]],
        color=color,
        marker=marker,
        markersize=5,
        markerfacecolor="white",
        linestyle=LINES[method] if line else "none",
        capsize=2,
        label=preset(method).title if label else None,
    )


def legend(figure: Figure, columns: int = 5) -> None:
    """Names below the panels what is labelled in any of them, once."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=columns)


def nothing_to_draw(setting: Setting, command: str) -> DataError:
    """The error of a figure without a number, with the command of `experiments/` that makes some."""
    return DataError(f"nothing is measured at scale {setting.scale.name!r}: {command_line(setting, command)} does it")


def message(path: Path, missing: Sequence[str], setting: Setting, command: str) -> str:
    """What the command of a figure prints: where it is, and what is missing of it with the commands that make it."""
    rest = ["", how_to_measure(setting, command), "", bullets(missing)] if missing else []
    return "\n".join([str(path), *rest]) + "\n"


def save(figure: Figure, setting: Setting, name: str, drawn: pd.DataFrame | None) -> Path:
    """Writes `<name>.png`, `.pdf` and, of the numbers that are drawn, if any, `.csv` beside the reader's results.

    The files are the same to the byte whenever they are made of the same numbers. Returns the path of the PNG.
    """
    folder = setting.results_dir / setting.scale.name
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})
    figure.savefig(folder / f"{name}.pdf", metadata={"Creator": None, "Producer": None, "CreationDate": None})
    plt.close(figure)
    if drawn is not None:
        write_atomic(folder / f"{name}.csv", to_csv(drawn.round(DIGITS)))
    return folder / f"{name}.png"


def with_intervals(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with three columns more: `mean` of their row, and `low` and `high`, between which it is uncertain.

    Student's t with the standard deviation of runs within rows, pooled over `runs`: all that a figure draws. A row of
    one seed has an interval too if another has two; without any, `low` and `high` are NaN. The error of the finite
    test set, which all rows share, is not in it. Raises DataError if the runs are no table as `significance.py` says.
    """
    rows = summary(runs).set_index("row").astype({"mean": float})
    sd, df = pooled_sd(runs)
    half = (special.stdtrit(df, 1 - ERROR_RATE / 2) if df else np.nan) * sd / np.sqrt(rows["seeds"])
    of_rows = {"mean": rows["mean"], "low": rows["mean"] - half, "high": rows["mean"] + half}
    return runs.assign(**{name: runs["row"].map(values) for name, values in of_rows.items()})


def image_axis(axes: Axes, seen: Iterable[float]) -> None:
    """The x axis counts images, with a tick at each of the lengths that are drawn."""
    axes.set_xscale("log")
    axes.set_xticks(sorted(set(seen)), minor=False)
    axes.xaxis.set_major_formatter(lambda count, _: short(count))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("images seen in pre-training")


def flops_axis(axes: Axes) -> None:
    """The x axis counts floating-point operations."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("FLOPs of pre-training")


def short(count: float) -> str:
    """`1.0 bn`, `47 k` or `48`."""
    for unit, name, digits in ((1e9, " bn", 1), (1e3, " k", 0)):
        if count >= unit:
            return f"{count / unit:.{digits}f}{name}"
    return f"{count:.0f}"
