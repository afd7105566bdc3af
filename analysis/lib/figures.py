"""The look of all figures: a method has one colour, one mark and one line, nothing that a reader has to decode.

Marks and lines tell methods apart in grey too, and where colours look alike to a reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.lib.head import NOT_A_RESULT, bullets, command_line, how_to_measure
from analysis.lib.page import DIGITS
from analysis.lib.tables import to_csv
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
      runs: a line a run, with the columns of `analysis.lib.intervals.of_means`.
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
