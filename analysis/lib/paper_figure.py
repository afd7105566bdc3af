"""A figure of the paper: its results are read, it is drawn and saved, and what is missing of it is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from analysis.lib import captions, drawing
from analysis.lib.results import Results, read
from can.commands.setting import Setting
from can.commands.spec import Need
from can.errors import DataError


class Drawn(NamedTuple):
    """A figure, the numbers that it shows, and what its marks and bars are."""

    figure: Figure
    numbers: pd.DataFrame
    note: str = drawing.INTERVALS


@dataclass(frozen=True)
class PaperFigure:
    """What is particular to a figure.

    Attributes:
      name: of its files, such as `figure7`.
      command: the script of `experiments/` that makes its runs.
      needs: what it reads.
      caption: what it shows, in a sentence or two.
      draw: draws what one source has; the reader's own results are drawn where there are some.
    """

    name: str
    command: str
    needs: Sequence[Need]
    caption: str
    draw: Callable[[Setting, Results, str], Drawn]

    def render(self, setting: Setting, *, brief: bool = False) -> str:
        """Draws the figure and returns where it is and, unless `brief`, what is missing of it.

        Raises DataError if nothing is measured, with the command that measures it.
        """
        found = read(self.needs, setting)
        if not found.sources:
            command = captions.command_line(setting, self.command)
            raise DataError(f"nothing is measured at scale {setting.scale.name!r}: {command} does it")
        source = found.sources[-1]
        figure, numbers, note = self.draw(setting, found, source)
        path = drawing.save(figure, setting, self.name, numbers, source=source, caption=self.caption, note=note)
        missing = [] if brief else captions.missing(found, self.needs, setting, self.command)
        rest = ["", captions.how_to_measure(setting, self.command), "", captions.bullets(missing)] if missing else []
        return "\n".join([str(path), *rest]) + "\n"
