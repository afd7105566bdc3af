"""Finetuning, few-shot classification and robustness of Table 2's encoders at their longest schedules.

    bash experiments/transfer.sh [--scale=smoke|laptop|overnight|gpu|paper] [--seeds=0,1,2] [--rows=can/vit_l]

The paper has finetuning in Table 3, few-shot in Figure 5 and robustness in Figure 6. The untrained encoders are trained
from scratch with the same budget, and with mixup.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from experiments.harness import table
from experiments.harness.spec import Need, Spec

FROZEN = ("linear_probe", "few_shot", "few_shot_sgd")
TRAINED = (
    Spec("mae", "vit_l", "jft", 5000),
    Spec("simclr", "vit_b", "jft", 800),
    Spec("simclr", "vit_l", "jft", 5000),
    Spec("can", "vit_b", "jft", 800),
    Spec("can", "vit_l", "jft", 5000),
)
UNTRAINED = (Spec("random", "vit_b", "jft", 0), Spec("random", "vit_l", "jft", 0))
NEEDS = (
    *(Need(spec, (*FROZEN, "finetune", "robustness")) for spec in TRAINED),
    *(Need(spec, (*FROZEN, "finetune_scratch")) for spec in UNTRAINED),
)

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_transfer")
