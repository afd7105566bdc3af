"""The numbers printed in the paper, from `paper_values.csv`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

CSV = Path(__file__).resolve().parents[1] / "paper_values.csv"
OWN = "paper"  # the `source` of numbers that the paper's authors measured; else a citation


class PaperValue(NamedTuple):
    """One printed number. Fields that the paper does not state at that place are empty."""

    place: str  # "Table 2", "Sec. 4.1", "Abstract", ...
    method: str
    source: str  # who measured it: OWN, or the paper's citation
    architecture: str
    data: str  # pre-training data
    epochs: str
    metric: str
    value: str  # as printed, so that 83.0 keeps its zero
    unit: str
    note: str

    @property
    def number(self) -> float:
        """The value as a number, in `unit`."""
        return float(self.value)


def paper_values(path: Path = CSV) -> list[PaperValue]:
    """Every number of the paper, in the paper's order."""
    with path.open(encoding="utf-8", newline="") as file:
        return [PaperValue(**row) for row in csv.DictReader(file)]


def printed_at(values: Sequence[PaperValue], place: str, metric: str) -> list[PaperValue]:
    """The values of one metric at one place, in the paper's order."""
    return [value for value in values if value.place == place and value.metric == metric]


def contradictions(values: Sequence[PaperValue], value: PaperValue) -> list[PaperValue]:
    """What the paper prints elsewhere for the same thing as `value`, where the number differs."""

    def subject(one: PaperValue) -> tuple[str, ...]:
        return one.method, one.source, one.architecture, one.data, one.epochs, one.metric

    return [other for other in values if subject(other) == subject(value) and other.number != value.number]
