"""The command lines of what remakes a table or figure: flags, then the text that is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from absl import flags as absl_flags

from can.commands import cli, flags
from can.commands.folder_flags import define_folder
from can.commands.setting import RESULTS, Setting
from can.system.files import write_atomic


def run(render: Callable[[Setting], str]) -> None:
    """Parses the flags, which are those of the experiment, and prints what `render` returns."""
    flags.define_setting_flags()
    cli.run(lambda: print(render(flags.setting()), end=""))


def run_pages(pages: Callable[[], dict[str, str]]) -> None:
    """For what depends on no setting: writes the files, whose first one is the page, to --results_dir and prints it."""
    define_folder("results_dir", str(RESULTS), "where the files go")

    def main() -> None:
        made = pages()
        for name, text in made.items():
            write_atomic(Path(absl_flags.FLAGS.results_dir) / name, text)
        print(next(iter(made.values())), end="")

    cli.run(main)
