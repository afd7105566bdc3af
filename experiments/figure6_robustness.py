"""Figures 6, 9 and 10: finetuned models on seven shifted test sets, for every pre-training that the paper shows.

    bash experiments/figure6_robustness.sh [--scale=smoke|laptop|evening|overnight|gpu|paper] [--seeds=0,1,2]

The paper: CAN is above SimCLR and MAE on most sets, and a finetuned CAN ViT-B beats PyramidAT on 6 of 7 (Figure 10).
Its bars have no printed numbers.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands.spec import Need, Spec
from experiments.harness import table

METHODS = ("mae", "simclr", "can")
FIGURES = {  # by number and panel: model, pre-training set, epochs
    "6 left": ("vit_l", "jft", 5000),
    "6 right": ("vit_l", "in1k", 800),
    "9 left": ("vit_l", "jft", 800),
    "9 right": ("vit_l", "jft", 1600),
    "10 top": ("vit_b", "jft", 800),
}
RUNS = {figure: tuple(Spec(method, *what) for method in METHODS) for figure, what in FIGURES.items()}
SUPERVISED = (Spec("supervised", "vit_b", "in1k", 300), Spec("pyramid_at", "vit_b", "in1k", 300))  # Figure 10, bottom
NEEDS = (
    *(Need(spec, ("finetune", "robustness")) for specs in RUNS.values() for spec in specs),
    *(Need(spec, ("robustness",)) for spec in SUPERVISED),
)

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_figure6")
