"""The command `can evaluate` as a script of this checkout: see can/commands/evaluate.py."""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands import cli, evaluate

if __name__ == "__main__":
    evaluate.define_flags()
    cli.run(evaluate.main)
