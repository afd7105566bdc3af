"""Table 1: what each part of the denoising brings, by linear probe of ViT-B after 100 epochs of IN-1K.

    bash experiments/table1_denoising.sh [--scale=smoke|laptop|evening|overnight|gpu|paper] [--seeds=0,1,2]

The paper's numbers: no denoising 67.9, noise on the input 68.6, a loss that predicts it 68.4, and the noise level told
to the decoder ("full") 68.9. "Full" is the base run of every ablation.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands.spec import Need, Spec
from experiments.harness import table

FULL = Spec("can", "vit_b", "in1k", 100)
VARIANTS = {  # by the paper's names, each with one part more than the one before
    "None": FULL.but(sigma_max=0.0),
    "+noise": FULL.but(denoise_loss=False),
    "+noise, +loss": FULL.but(sigma_embedding=False),
    "Full": FULL,
}
NEEDS = tuple(Need(spec) for spec in VARIANTS.values())

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_table1")
