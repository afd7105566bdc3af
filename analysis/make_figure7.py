"""Figure 7: CAN and SimCLR at different masking rates: `python analysis/make_figure7.py [--scale=...]`.

A panel for each of the data sets; every seed a dot, means with 95 % intervals over seeds. Writes `figure7.png`, `.pdf`
and, of what is drawn, `.csv` into `results/<scale>/`. The reader's own results are drawn where there are some, else the
published ones. The paper prints no numbers of this figure.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import pandas as pd

from analysis.lib import captions, drawing, panels
from analysis.lib.command import run
from analysis.lib.paper_figure import Drawn, PaperFigure
from analysis.lib.results import Results
from can.commands.scales import DATA_ROLES, MODEL_ROLES
from can.commands.setting import Setting
from experiments.figure7_masking import NEEDS, PANELS, RATES, RUNS


def draw(setting: Setting, found: Results, source: str) -> Drawn:
    """A panel a data set: both methods over the rate."""
    figure, places = drawing.subplots(len(PANELS), share=True)
    drawn = []
    for axes, (panel, (data, epochs)) in zip(places, PANELS.items(), strict=True):
        runs = panels.swept(found, source, "mask_rate", RUNS[panel], panel)
        panels.draw_sweep(axes, runs, label=True)
        panels.mark_choice(axes, "Sec. 5", "mask_rate")
        base = RUNS[panel]["can"][0]
        drawing.title(
            axes,
            f"{MODEL_ROLES[base.model]}, {DATA_ROLES[data]}, {epochs} epochs",
            captions.plays(setting, base),
        )
        axes.set_xticks(RATES)
        axes.set_xlim(-0.05, 0.95)
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:.0%}")
        axes.set_xlabel("masked patches")
        drawn.append(runs)
    places[0].set_ylabel("linear probe, top-1 in %")
    drawing.legend(figure)
    return Drawn(figure, pd.concat(drawn, ignore_index=True))


FIGURE = PaperFigure(
    "figure7",
    "figure7_masking",
    NEEDS,
    "Figure 7. Linear probe of CAN and SimCLR by the share of masked patches.",
    draw,
)
render = FIGURE.render


if __name__ == "__main__":
    run(render)
