"""Accuracy against the length of training, of Table 2's ViT-L rows: `python analysis/make_training_length.py`.

Three panels: measured here against images seen (equal epochs) and against the floating-point operations of pre-training
(equal cost), every seed a dot, means with 95 % intervals over seeds; and the paper's curve. Writes
`training_length.png`, `.pdf` and `.csv` into `results/<scale>/`. The reader's own results are drawn where there are
some, else the published ones.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.lib import drawing
from analysis.lib.command import run
from analysis.lib.paper import OWN, paper_values, printed_at
from analysis.lib.results import per_cent, read
from can.runs.provenance import without_folder
from experiments.harness.cost import pretraining_flops
from experiments.harness.methods import METHODS
from experiments.harness.scales import IN1K_IMAGES, MODEL_ROLES
from experiments.harness.setting import Setting
from experiments.table2_jft import NEEDS

COMMAND = "table2_jft"  # of experiments/
MODEL = "vit_l"
BASELINES = ("random", "pixels")
DRAWN = ["source", "method", "epochs", "images", "flops", "seed", "value", "mean", "low", "high"]


def render(setting: Setting, *, brief: bool = False) -> str:
    """Draws the figure and returns where it is. Raises DataError if nothing is measured."""
    found = read(NEEDS, setting)
    if not found.sources:
        raise drawing.nothing_to_draw(setting, COMMAND)
    source = found.sources[-1]
    runs = per_cent(found.of(source, "linear_probe", "top1"))
    runs = drawing.with_intervals(runs[runs["model"] == MODEL])
    flops = {run.spec: pretraining_flops(run.config) for _, run in found.runs if run.spec.model == MODEL}
    runs = runs.assign(flops=runs["row"].map(flops))
    paper = _paper()
    figure, (by_images, by_flops, printed) = drawing.subplots(3)
    for axes, length in ((by_images, "images"), (by_flops, "flops")):
        _draw(axes, runs, length)
        for method in BASELINES:
            baseline = runs[runs["method"] == method]["value"]
            if not baseline.empty:
                line = drawing.LINES[method]
                axes.axhline(baseline.mean(), color=drawing.GREY, linestyle=line, label=METHODS[method].title)
        axes.set_title(without_folder(setting.labelled), parse_math=False)
        drawing.corner(axes, setting, source)
    _draw(printed, paper, "images")
    printed.set_title("the paper: IN-1K")
    for axes, seen in ((by_images, runs["images"]), (printed, paper["images"])):
        drawing.image_axis(axes, seen[seen > 0])
    drawing.flops_axis(by_flops)
    by_images.set_ylabel("linear probe, top-1 in %")
    drawing.legend(figure)
    drawn = pd.concat([runs, paper.assign(source="paper")], ignore_index=True)[DRAWN]
    return f"{drawing.save(figure, setting, 'training_length', drawn)}\n"


def _draw(axes: Axes, runs: pd.DataFrame, length: str) -> None:
    """The trained runs over the column `length`."""
    for method, own in runs[runs["images"] > 0].groupby("method"):
        drawing.interval(axes, own, length, str(method), label=True)


def _paper() -> pd.DataFrame:
    """The paper's ViT-L rows of Table 2."""
    names = {preset.title: method for method, preset in METHODS.items()}
    printed = [
        (names[value.method], float(value.epochs), float(value.epochs) * IN1K_IMAGES, value.number, value.number)
        for value in printed_at(paper_values(), "Table 2", "linear_probe_top1")
        if value.source == OWN and value.architecture == MODEL_ROLES[MODEL]
    ]
    return pd.DataFrame(printed, columns=["method", "epochs", "images", "value", "mean"]).assign(
        low=np.nan, high=np.nan
    )


if __name__ == "__main__":
    run(render)
