"""Flags that name a folder."""

from __future__ import annotations

from pathlib import Path

from absl import flags


class _Folder(flags.ArgumentParser):
    """A path; of `--results_dir=~/out` a shell leaves the `~` to us."""

    syntactic_help = "a folder"

    def parse(self, argument: str) -> str:
        """The path with the home folder put in. Raises ValueError for no path, and for a home that nobody has."""
        if not argument or "\0" in argument:
            raise ValueError("a folder must have a name")
        try:
            return str(Path(argument).expanduser())
        except RuntimeError as error:
            raise ValueError(f"{error}: write the folder out") from error


def define_folder(name: str, default: str | None, help_text: str) -> None:
    """As absl's `DEFINE_string`, for the path of a folder."""
    flags.DEFINE(_Folder(), name, default, help_text, serializer=flags.ArgumentSerializer())
