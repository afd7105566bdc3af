"""Every table and figure, and all that they need: `bash experiments/all.sh [--seeds=0,1,2] [--dry_run]`.

A run that several of them need is made once: short ones of the first seed first. At the end everything is drawn, with
the scoreboard of the paper's claims. The flags are those of every table.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from experiments.harness import table
from experiments.harness.declared import all_needs

if __name__ == "__main__":
    table.main(all_needs(), analysis="make_all")
