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

from analysis.lib import captions, drawing
from analysis.lib.command import run
from analysis.lib.paper import OWN, paper_values, printed_at
from analysis.lib.paper_figure import Drawn, PaperFigure
from analysis.lib.results import Results, per_cent
from can.commands.methods import METHODS
from can.commands.scales import DATA_ROLES, IN1K_IMAGES, MODEL_ROLES
from can.commands.setting import Setting
from experiments.harness.cost import pretraining_flops
from experiments.table2_jft import NEEDS, RUNS

MODEL = "vit_l"
LONGEST = next(spec for spec in RUNS if spec.model == MODEL)  # whose roles all rows have
BASELINES = ("random", "pixels")
DRAWN = ["source", "method", "epochs", "images", "flops", "seed", "value", "mean", "low", "high"]


def draw(setting: Setting, found: Results, source: str) -> Drawn:
    """Here over images and over FLOPs, and the paper's over images."""
    runs = per_cent(found.of(source, "linear_probe", "top1"))
    shown = (runs["model"] == MODEL) & runs["method"].isin([*drawing.COLORS, *BASELINES])  # not what the paper quotes
    runs = drawing.with_intervals(runs[shown])
    flops = {run.spec: pretraining_flops(run.config) for _, run in found.runs if run.spec.model == MODEL}
    runs = runs.assign(flops=runs["row"].map(flops))
    paper = _paper()
    figure, (by_images, by_flops, printed) = drawing.subplots(3)
    by_flops.sharey(by_images)
    roles = f"{MODEL_ROLES[MODEL]}, {DATA_ROLES['jft']}"
    for axes, length in ((by_images, "images"), (by_flops, "flops")):
        _draw(axes, runs, length)
        for method in BASELINES:
            baseline = runs[runs["method"] == method]["value"]
            if not baseline.empty:
                line = drawing.LINES[method]
                axes.axhline(baseline.mean(), color=drawing.GREY, linestyle=line, label=METHODS[method].title)
        drawing.title(axes, roles, captions.plays(setting, LONGEST, length=False))
    _draw(printed, paper, "images")
    drawing.title(printed, roles, "the paper, on IN-1K")
    for axes, seen in ((by_images, runs["images"]), (printed, paper["images"])):
        drawing.image_axis(axes, seen[seen > 0])
    drawing.flops_axis(by_flops)
    by_images.set_ylabel("linear probe, top-1 in %")
    drawing.legend(figure)
    return Drawn(figure, pd.concat([runs, paper.assign(source="paper")], ignore_index=True)[DRAWN])


def _draw(axes: Axes, runs: pd.DataFrame, length: str) -> None:
    """The trained runs over the column `length`."""
    trained = runs[runs["images"] > 0]
    beside = drawing.dodges(trained["method"] if length == "images" else ())  # of which methods have the same
    for method, own in trained.groupby("method"):
        drawing.interval(axes, own, length, str(method), label=True, dodge=beside.get(str(method), 0.0))


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


FIGURE = PaperFigure(
    "training_length",
    "table2_jft",
    NEEDS,
    "Table 2's ViT-L rows: linear probe over the length of pre-training, at equal epochs and at equal operations.",
    draw,
)
render = FIGURE.render


if __name__ == "__main__":
    run(render)
