"""Figures 2 and 3: what CAN makes of real images: views, masks and noise, a reconstruction, predicted noise.

    bash experiments/figure2_method.sh [--scale=smoke|laptop|evening|overnight|gpu|paper] [--seeds=0,1,2]

The paper draws its method. Here the same drawing is made of test images and of Table 2's longest run.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands.spec import Need, Spec
from experiments.harness import table

CAN = Spec("can", "vit_l", "jft", 5000)
NEEDS = (Need(CAN, ("pictures",)),)

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_figure2")
