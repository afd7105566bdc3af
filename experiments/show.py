"""The command `can show` as a script of this checkout: see can/commands/show.py."""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from can.commands import cli, show

if __name__ == "__main__":
    show.define_flags()
    cli.run(show.main)
