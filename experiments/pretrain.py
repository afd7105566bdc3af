"""The command `can pretrain` as a script of this checkout: see can/commands/pretrain.py."""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands import cli, pretrain

if __name__ == "__main__":
    pretrain.define_flags()
    cli.run(pretrain.main)
