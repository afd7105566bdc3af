"""The command `can features` as a script of this checkout: see can/commands/features.py."""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands import cli, features

if __name__ == "__main__":
    features.define_flags()
    cli.run(features.main)
