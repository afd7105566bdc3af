"""Table 4: final losses of CAN, SimCLR and MAE, all with half of the patches masked (ViT-B, 100 epochs of IN-1K).

    bash experiments/table4_complementarity.sh [--scale=smoke|laptop|evening|overnight|gpu|paper] [--seeds=0,1,2]

Are contrasting and reconstructing complementary? The paper's numbers: InfoNCE 9.157 for SimCLR and 9.143 for CAN,
reconstruction .1658 for MAE and .1633 for CAN. Here the losses are those of held-out images under the same views and
masks for all, beside those of the end of training.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands.spec import Need, Spec
from experiments.harness import table

MASK_RATE = 0.5  # of all three: CAN's own
RUNS = tuple(Spec(method, "vit_b", "in1k", 100).but(mask_rate=MASK_RATE) for method in ("simclr", "mae", "can"))
NEEDS = tuple(Need(spec, ("final_losses", "linear_probe")) for spec in RUNS)

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_table4")
