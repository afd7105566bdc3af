"""Figure 8: CAN's contrastive weight, largest noise and denoising weight (ViT-B, 100 epochs of IN-1K, linear probe).

    bash experiments/figure8_weights.sh [--scale=smoke|laptop|evening|overnight|gpu|paper] [--seeds=0,1,2]

The paper: a small contrastive weight is best (.03, which its text prints), every noise of a wide range is better than
none (.05 is best), the denoising weight hardly matters. The contrastive weight is swept for both reductions of
InfoNCE, since the paper's own numbers leave open which one it has.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands.spec import Need, Spec, grid
from experiments.harness import table

BASE = Spec("can", "vit_b", "in1k", 100)
WEIGHTS = (0.01, 0.03, 0.1, 0.25, 0.5, 0.9)
REDUCTIONS = ("mean", "sum")
SIGMAS = (0.0, 0.01, 0.05, 0.2, 0.5)
SHARES = (0.5, 0.7, 0.9, 1.0)  # of the reconstruction in what InfoNCE leaves; denoising has the rest
SWEEPS = {
    "lambda_infonce": grid(BASE, lambda_infonce=WEIGHTS),
    "lambda_infonce (sum)": grid(BASE, lambda_infonce=WEIGHTS, infonce_reduction=("sum",)),
    "sigma_max": grid(BASE, sigma_max=SIGMAS),
    "lambda_reconstruct": grid(BASE, lambda_reconstruct=SHARES),
}
NEEDS = tuple(Need(spec) for specs in SWEEPS.values() for spec in specs)

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_figure8")
