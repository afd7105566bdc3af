"""Finetuning, few-shot classification and robustness of Table 2's encoders at their longest schedules.

    bash experiments/transfer.sh [--scale=smoke|laptop|overnight|gpu|paper] [--seeds=0,1,2] [--rows=can/vit_l]

The paper has finetuning in Table 3, few-shot in Figure 5 and robustness in Figure 6. The untrained encoders are trained
from scratch with the same budget, and with mixup.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from experiments.harness import cli, table
from experiments.harness.table import Row

FROZEN = ("linear_probe", "few_shot", "few_shot_sgd")
EVALS = (*FROZEN, "finetune", "robustness")
SCRATCH = (*FROZEN, "finetune_scratch")
ROWS = (
    Row("mae", "vit_l", "jft", 5000, EVALS),
    Row("simclr", "vit_b", "jft", 800, EVALS),
    Row("simclr", "vit_l", "jft", 5000, EVALS),
    Row("can", "vit_b", "jft", 800, EVALS),
    Row("can", "vit_l", "jft", 5000, EVALS),
    Row("random", "vit_b", "jft", 0, SCRATCH),
    Row("random", "vit_l", "jft", 0, SCRATCH),
)


def main() -> None:
    """Makes what is missing, and the tables."""
    table.make(ROWS, analysis="make_transfer")


if __name__ == "__main__":
    table.define_flags()
    cli.run(main)
