"""Figure 1: accuracy against the cost of pre-training, and by the set that was pre-trained on.

    bash experiments/figure1_scaling.sh [--scale=smoke|laptop|overnight|gpu|paper] [--seeds=0,1,2]

It reads the runs of Tables 2 and 3, and makes none of its own.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from experiments import table2_jft, table3_in1k
from experiments.harness import table
from experiments.harness.spec import Need

RUNS = (*table2_jft.RUNS, *table3_in1k.TRAINED)
NEEDS = tuple(Need(spec) for spec in (*RUNS, *table2_jft.UNTRAINED))

if __name__ == "__main__":
    table.main(NEEDS, analysis="make_figure1")
