"""The command `can export` as a script of this checkout: see can/commands/export.py."""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands import cli, export

if __name__ == "__main__":
    export.define_flags()
    cli.run(export.main)
