"""Figures 5 and 11-15: few-shot classification on nine data sets, for every pre-training that the paper shows.

    bash experiments/figure5_few_shot.sh [--scale=smoke|laptop|evening|overnight|gpu|paper] [--seeds=0,1,2]

The paper: with 10 shots CAN is above MAE and SimCLR on 8 of 9 sets after IN-1K pre-training (App. A), and "generally"
best after JFT-300M's. Its bars have no printed numbers.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands.spec import Need, Spec
from experiments.harness import table

METHODS = ("mae", "simclr", "can")
FIGURES = {  # by number: model, pre-training set, epochs; Figures 5 and 11 are two halves of one
    "5": ("vit_l", "jft", 5000),
    "12": ("vit_l", "jft", 800),
    "13": ("vit_l", "jft", 1600),
    "14": ("vit_b", "jft", 800),
    "15": ("vit_l", "in1k", 800),
}
RUNS = {figure: tuple(Spec(method, *what) for method in METHODS) for figure, what in FIGURES.items()}
UNTRAINED = {model: Spec("random", model, "jft", 0) for model in ("vit_b", "vit_l")}
EVALS = ("few_shot", "few_shot_sgd")
NEEDS = tuple(Need(spec, EVALS) for spec in (*(spec for specs in RUNS.values() for spec in specs), *UNTRAINED.values()))

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_figure5")
