"""Figure 4: finetuning accuracy against the length of pre-training, of Table 2's ViT-L rows and MAE's 800 epochs.

    bash experiments/figure4_finetuning.sh [--scale=smoke|laptop|evening|overnight|gpu|paper] [--seeds=0,1,2]

The paper prints the ends of its curves: at 5000 epochs CAN 86.1, SimCLR 85.5, MAE 85.4 (IN-1K top-1 in %).
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands.spec import Need, Spec
from experiments import table2_jft
from experiments.harness import table

RUNS = (Spec("mae", "vit_l", "jft", 800), *(spec for spec in table2_jft.RUNS if spec.model == "vit_l"))
UNTRAINED = Spec("random", "vit_l", "jft", 0)
EVALS = ("finetune", "linear_probe")  # the probe is Table 2's: does finetuning gain over it?
NEEDS = (*(Need(spec, EVALS) for spec in RUNS), Need(UNTRAINED, ("finetune_scratch",)))

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_figure4")
