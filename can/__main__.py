"""The command `can`, also as `python -m can`: `can pretrain --help` lists the flags of a subcommand."""

from __future__ import annotations

import importlib
import sys

from can.commands import COMMANDS
from can.system.start import open_descriptors


def main() -> None:
    """Runs the subcommand that the command line names, and exits."""
    open_descriptors()
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--help", "-h", "help"):
        print(_overview())
        return
    if name not in COMMANDS:
        sys.exit(f"error: unknown command {name!r} (valid: {', '.join(COMMANDS)})")
    from can.commands.environment import keep_memory  # before JAX and all that imports it

    keep_memory()
    from can.commands import cli

    command = importlib.import_module(f"can.commands.{name}")
    sys.argv = [f"can {name}", *sys.argv[2:]]
    command.define_flags()
    cli.run(command.main)


def _overview() -> str:
    """What there is, a line a command."""
    width = max(map(len, COMMANDS))
    lines = [f"  can {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(["usage: can COMMAND --flag=value ...", "", *lines, "", "can COMMAND --help lists its flags."])


if __name__ == "__main__":
    main()
