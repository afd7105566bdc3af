"""The command line of what remakes a table or figure: the flags of a setting, then the text that is made."""

from __future__ import annotations

from collections.abc import Callable

from experiments.harness import cli, flags
from experiments.harness.setting import Setting


def run(render: Callable[[Setting], str]) -> None:
    """Parses the flags, which are those of the experiment, and prints what `render` returns."""
    flags.define_setting_flags()
    cli.run(lambda: print(render(flags.setting()), end=""))
