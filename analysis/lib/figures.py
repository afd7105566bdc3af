"""The look of all figures: one colour and one name a method, few lines, nothing that a reader has to decode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = {"can": "#0b6e4f", "simclr": "#c8553d", "mae": "#3d5a98"}
GREY = "#8d99ae"
STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 9,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
}


def subplots(columns: int, *, width: float = 3.4, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    """A row of panels in this style; sizes in inches, of one panel."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, columns, figsize=(columns * width, height), squeeze=False)
    return figure, list(axes[0])


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG that is the same to the byte whenever it is drawn from the same numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context(STYLE):
        figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
