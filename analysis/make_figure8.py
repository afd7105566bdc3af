"""Figure 8: CAN's contrastive weight, noise and denoising weight: `python analysis/make_figure8.py [--scale=...]`.

The contrastive weight has a panel for each reduction of InfoNCE. Every seed is a dot, means have 95 % intervals over
seeds. Writes `figure8.png`, `.pdf` and, of what is drawn, `.csv` into `results/<scale>/`. The reader's own results are
drawn where there are some, else the published ones. Of the paper there is the choice that its text prints.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from typing import NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from analysis.lib import captions, drawing, panels
from analysis.lib.command import run
from analysis.lib.paper_figure import Drawn, PaperFigure
from analysis.lib.results import Results
from can.commands.scales import DATA_ROLES, MODEL_ROLES
from can.commands.setting import Setting
from experiments.figure8_weights import BASE, NEEDS, SWEEPS

COLUMNS = 2
INFONCE = r"contrastive weight $λ_\mathrm{InfoNCE}$"


class Panel(NamedTuple):
    """How a sweep is drawn."""

    setting: str  # that is swept
    title: str
    label: str  # of the x axis
    logarithmic: bool
    papers: str | None  # the metric of the paper's choice in its Sec. 5, if its text prints one


PANELS = {  # by the names of SWEEPS
    "lambda_infonce": Panel("lambda_infonce", "InfoNCE as a mean", INFONCE, True, "lambda_infonce"),
    "lambda_infonce (sum)": Panel("lambda_infonce", "InfoNCE as a sum", INFONCE, True, "lambda_infonce"),
    "sigma_max": Panel("sigma_max", "noise", r"largest noise $σ_\mathrm{max}$; 0 is none", True, "sigma_max"),
    "lambda_reconstruct": Panel("lambda_reconstruct", "denoising", "denoising's share 1 − λ", False, None),
}


def draw(setting: Setting, found: Results, source: str) -> Drawn:
    """A panel a sweep."""
    figure, axes = drawing.subplots(COLUMNS, len(PANELS) // COLUMNS, share=True)
    drawn = []
    for place, (name, panel) in enumerate(PANELS.items()):
        runs = panels.swept(found, source, panel.setting, {BASE.method: SWEEPS[name]}, name)
        # The paper draws the denoising weight, which is what reconstruction leaves.
        if panel.setting == "lambda_reconstruct":
            runs = runs.assign(setting="1 - lambda_reconstruct", at=1 - runs["at"])
        _draw(axes[place], runs, panel)
        drawing.title(axes[place], panel.title)
        if place % COLUMNS == 0:
            axes[place].set_ylabel("CAN, linear probe, top-1 in %")
        drawn.append(runs)
    roles = f"{MODEL_ROLES[BASE.model]}, {DATA_ROLES[BASE.data]}, {BASE.epochs:g} epochs"
    drawing.legend(figure)
    return Drawn(
        figure, pd.concat(drawn, ignore_index=True), f"{roles}: {captions.plays(setting, BASE)}. {drawing.INTERVALS}"
    )


def _draw(axes: Axes, runs: pd.DataFrame, panel: Panel) -> None:
    places = sorted(set(runs["at"]))
    if panel.logarithmic and any(places):
        # 0, which has no logarithm, is as far left of the smallest weight as a factor of ten.
        axes.set_xscale("symlog", linthresh=min(filter(None, places)), linscale=1)
    panels.draw_sweep(axes, runs, label=True)
    if panel.papers:
        panels.mark_choice(axes, "Sec. 5", panel.papers)
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(panel.label)


FIGURE = PaperFigure(
    "figure8",
    "figure8_weights",
    NEEDS,
    "Figure 8. Linear probe of CAN by the weight of InfoNCE, the largest level of noise and the weight of denoising.",
    draw,
)
render = FIGURE.render


if __name__ == "__main__":
    run(render)
