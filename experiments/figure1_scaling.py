"""Figure 1: accuracy against the cost of pre-training, and by the set that was pre-trained on.

    bash experiments/figure1_scaling.sh [--scale=smoke|laptop|evening|overnight|gpu|paper] [--seeds=0,1,2]

It reads the runs of Tables 2 and 3; only MAE's 800 epochs of JFT-300M are of Figures 5 and 6. The paper prints no
numbers but those of the tables, and that SimCLR takes 70 % more FLOPs than CAN (ViT-L).
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands.spec import Need, Spec
from experiments import table2_jft
from experiments.harness import table

METHODS = ("can", "simclr", "mae")
MODEL = "vit_l"
SCALED = (  # accuracy against cost, and at equal cost
    Spec("mae", MODEL, "jft", 800),
    *(spec for spec in table2_jft.RUNS if spec.model == MODEL),
)
BY_DATA = {data: tuple(Spec(method, MODEL, data, 800) for method in METHODS) for data in ("in1k", "jft")}
UNTRAINED = Spec("random", MODEL, "jft", 0)
NEEDS = tuple(Need(spec) for spec in dict.fromkeys((*SCALED, *BY_DATA["in1k"], UNTRAINED)))

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_figure1")
