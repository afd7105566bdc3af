"""Everything that the tables and figures of this folder need: `bash experiments/all.sh [--seeds=0,1,2] [--dry_run]`.

A run that several of them need is made once. The flags are those of every table.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from experiments.harness import table
from experiments.harness.declared import all_needs

if __name__ == "__main__":
    table.main(all_needs(), analysis="verify")
