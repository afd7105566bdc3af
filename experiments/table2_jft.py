"""Table 2: linear probe of encoders pre-trained on uncurated images (JFT-300M in the paper).

    bash experiments/table2_jft.sh [--scale=smoke|laptop|overnight|gpu|paper] [--seeds=0,1,2] [--rows=can/vit_l]

At `laptop` one seed takes 11 minutes on two cores. The paper's numbers (IN-1K top-1, %): ViT-L, 5000 epochs:
CAN 75.4, SimCLR 73.4, MAE 64.1; ViT-B, 800 epochs: CAN 67.1, SimCLR 65.8. The last row of each size is an encoder that
was never trained.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from experiments.harness import cli, table
from experiments.harness.table import Row

ROWS = (
    Row("mae", "vit_l", "jft", 1600),
    Row("mae", "vit_l", "jft", 5000),
    Row("simclr", "vit_b", "jft", 800),
    Row("simclr", "vit_l", "jft", 800),
    Row("simclr", "vit_l", "jft", 1600),
    Row("simclr", "vit_l", "jft", 5000),
    Row("can", "vit_b", "jft", 800),
    Row("can", "vit_l", "jft", 800),
    Row("can", "vit_l", "jft", 1600),
    Row("can", "vit_l", "jft", 3000),
    Row("can", "vit_l", "jft", 5000),
    Row("random", "vit_b", "jft", 0),
    Row("random", "vit_l", "jft", 0),
)


def main() -> None:
    """Makes the rows that are missing, and the table."""
    table.make(ROWS, analysis="make_table2")


if __name__ == "__main__":
    table.define_flags()
    cli.run(main)
