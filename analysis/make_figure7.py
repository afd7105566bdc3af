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
from analysis.lib.results import read
from can.runs.provenance import without_folder
from experiments.figure7_masking import NEEDS, PANELS, RATES, RUNS
from experiments.harness.scales import DATA_ROLES
from experiments.harness.setting import Setting

COMMAND = "figure7_masking"  # of experiments/


def render(setting: Setting, *, brief: bool = False) -> str:
    """Draws the figure and returns where it is and, unless `brief`, what is missing of it.

    Raises DataError if nothing is measured.
    """
    found = read(NEEDS, setting)
    if not found.sources:
        raise drawing.nothing_to_draw(setting, COMMAND)
    source = found.sources[-1]
    figure, places = drawing.subplots(len(PANELS))
    drawn = []
    for axes, (panel, (data, epochs)) in zip(places, PANELS.items(), strict=True):
        runs = panels.swept(found, source, "mask_rate", RUNS[panel], panel)
        panels.draw_sweep(axes, runs, label=True)
        panels.mark_choice(axes, "Sec. 5", "mask_rate")
        played = without_folder(setting.scale.data[data])
        axes.set_title(f"{DATA_ROLES[data]} ({played}), {epochs} epochs", parse_math=False)
        drawing.corner(axes, setting, source)
        axes.set_xticks(RATES)
        axes.set_xlim(-0.05, 0.95)
        axes.xaxis.set_major_formatter(lambda rate, _: f"{rate:.0%}")
        axes.set_xlabel("masked patches")
        drawn.append(runs)
    places[0].set_ylabel("linear probe, top-1 in %")
    drawing.legend(figure)
    path = drawing.save(figure, setting, "figure7", pd.concat(drawn, ignore_index=True))
    return drawing.message(path, [] if brief else captions.missing(found, NEEDS, setting, COMMAND), setting, COMMAND)


if __name__ == "__main__":
    run(render)
