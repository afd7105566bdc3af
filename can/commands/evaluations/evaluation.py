"""What every evaluation of a run is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from can.commands.setting import Run, Setting
from can.runs import EvalRecord


class Fingerprinted(Protocol):
    """A set of images, with or without a rule how it is counted."""

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints mean equal images in equal order, under an equal rule."""
        ...


class Evaluation(Protocol):
    """An evaluation by a protocol, on the data that a setting names."""

    def protocol(self, setting: Setting, run: Run) -> dict[str, Any]:
        """Every setting that the numbers depend on, as plain JSON values; reads no data."""
        ...

    def images(self, setting: Setting) -> Mapping[str, Fingerprinted]:
        """What is read, by names without this machine's folders; all is opened, so that a missing set is found."""
        ...

    def measure(self, setting: Setting, run: Run, images: Mapping[str, Any]) -> list[EvalRecord]:
        """The numbers. An interrupted call goes on where it was."""
        ...
