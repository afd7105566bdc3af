"""Table 2: linear probe of encoders pre-trained on uncurated images (JFT-300M in the paper).

    bash experiments/table2_jft.sh [--scale=smoke|laptop|evening|overnight|gpu|paper] [--seeds=0,1,2] [--rows=can/vit_l]

At `laptop` one seed of the paper's own rows takes half an hour on two cores. The paper's numbers (IN-1K top-1, %):
ViT-L, 5000 epochs: CAN 75.4, SimCLR 73.4, MAE 64.1; ViT-B, 800 epochs: CAN 67.1, SimCLR 65.8. The last rows are what
every encoder has to beat: one that was never trained, of each size, and the raw pixels.

CITED are the methods that the paper quotes, with ResNets (R50 67.6-70.7, R200x2 74.2 and 77.3): here ViT-B plays R50's
part and ViT-L R200x2's, so that all methods have one encoder. DnC is not among them.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands.spec import Need, Spec
from experiments.harness import table

RUNS = (
    Spec("mae", "vit_l", "jft", 1600),
    Spec("mae", "vit_l", "jft", 5000),
    Spec("simclr", "vit_b", "jft", 800),
    Spec("simclr", "vit_l", "jft", 800),
    Spec("simclr", "vit_l", "jft", 1600),
    Spec("simclr", "vit_l", "jft", 5000),
    Spec("can", "vit_b", "jft", 800),
    Spec("can", "vit_l", "jft", 800),
    Spec("can", "vit_l", "jft", 1600),
    Spec("can", "vit_l", "jft", 3000),
    Spec("can", "vit_l", "jft", 5000),
)
CITED = (
    Spec("moclr", "vit_b", "jft", 5000),
    Spec("byol", "vit_b", "jft", 5000),
    Spec("moclr", "vit_l", "jft", 5000),
)
UNTRAINED = (Spec("random", "vit_b", "jft", 0), Spec("random", "vit_l", "jft", 0))
PIXELS = Spec("pixels", "vit_l", "jft", 0)
NEEDS = tuple(Need(spec) for spec in (*RUNS, *UNTRAINED, PIXELS, *CITED))

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_table2")
