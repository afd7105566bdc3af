"""Flags that name a folder, or a bucket."""

from __future__ import annotations

from absl import flags

from can.errors import ConfigError
from can.system.places import folder, place


class _Folder(flags.ArgumentParser):
    """A path; of `--results_dir=~/out` a shell leaves the `~` to us."""

    syntactic_help = "a folder"

    def parse(self, argument: str) -> str:
        """The path with the home folder put in. Raises ValueError as `can.system.places.folder` does."""
        return str(folder(argument))


class _Place(_Folder):
    """A path, or gs://BUCKET/PATH."""

    syntactic_help = "a folder, or gs://BUCKET/PATH"

    def parse(self, argument: str) -> str:
        """The path as a folder's; what names a bucket stays as it is. Raises ValueError for one that cannot be used."""
        if "://" not in argument:
            return super().parse(argument)
        try:
            return str(place(argument))
        except ConfigError as error:
            raise ValueError(str(error)) from error


def define_place(name: str, default: str | None, help_text: str) -> None:
    """Defines a flag for the path of a folder, which may lie in a bucket."""
    flags.DEFINE(_Place(), name, default, help_text, serializer=flags.ArgumentSerializer())


def define_folder(name: str, default: str | None, help_text: str) -> None:
    """Defines a flag for the path of a folder on this machine."""
    flags.DEFINE(_Folder(), name, default, help_text, serializer=flags.ArgumentSerializer())
