"""Figure 7: the rate of masking, by linear probe of ViT-B: 100 epochs of IN-1K, and 800 of JFT-300M.

    bash experiments/figure7_masking.sh [--scale=smoke|laptop|evening|overnight|gpu|paper] [--seeds=0,1,2]

The paper prints no numbers: SimCLR falls as more is masked, CAN peaks at a rate above 0 and far below MAE's .75.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands.spec import Need, Spec, grid
from experiments.harness import table

RATES = (0.0, 0.15, 0.3, 0.5, 0.75, 0.9)
METHODS = ("can", "simclr")
PANELS = {"left": ("in1k", 100), "right": ("jft", 800)}
RUNS = {
    panel: {method: grid(Spec(method, "vit_b", *what), mask_rate=RATES) for method in METHODS}
    for panel, what in PANELS.items()
}
NEEDS = tuple(Need(spec) for methods in RUNS.values() for specs in methods.values() for spec in specs)

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_figure7")
