"""The command `can evaluate_weights` as a script of this checkout: see can/commands/evaluate_weights.py."""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands import cli, evaluate_weights

if __name__ == "__main__":
    evaluate_weights.define_flags()
    cli.run(evaluate_weights.main)
