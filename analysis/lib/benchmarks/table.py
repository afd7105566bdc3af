"""A table of a benchmark: out of the CSV file that the benchmark wrote, or out of two of them side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.lib.documents import read_csv, to_markdown


class BenchmarkTable(NamedTuple):
    """How a table is made."""

    title: str
    file: str  # of the measurements, below a results folder; "{scale}" stands for a scale
    command: str  # that measures
    cells: Callable[[pd.DataFrame], pd.DataFrame]  # from the file's rows to those of the table
    settings: int  # so many columns say what was measured; numbers follow

    def read(self, results_dir: Path, scale: str) -> pd.DataFrame:
        """The rows of the file; none if nothing is measured."""
        return read_csv(results_dir / self.file.format(scale=scale))

    def markdown(self, results_dir: Path, scale: str = "") -> str:
        """The table of what is measured in `results_dir`, and on which machine, or how to measure it."""
        rows = self.read(results_dir, scale)
        table = pd.DataFrame() if rows.empty else self.cells(rows)
        if table.empty:
            return f"– (not measured: `{self.command.format(scale=scale)}`)"
        where = machines(rows)
        return "\n\n".join([to_markdown(table), *([f"Measured on {where}."] if where else [])])

    def side_by_side(self, results_dir: Path, published: Path, scale: str = "") -> str:
        """The reader's own numbers and the published ones in turns, setting by setting."""
        sides = {"yours": self.read(results_dir, scale), "published": self.read(published, scale)}
        tables = {side: self.cells(rows) for side, rows in sides.items() if not rows.empty}
        tables = {side: table for side, table in tables.items() if not table.empty}
        for side, table in tables.items():
            table.insert(self.settings, "Numbers", side)
        notes = [f"{side.capitalize()}: measured on {where}." for side in tables if (where := machines(sides[side]))]
        if "yours" not in tables:
            notes.append(f"`{self.command.format(scale=scale)}` measures yours.")
        if not tables:
            return "Not measured, and not published. " + notes[-1]
        together = pd.concat(tables.values())
        setting = list(together.columns[: self.settings])
        in_turns = pd.concat([rows for _, rows in together.groupby(setting, sort=False)])
        return "\n\n".join([to_markdown(in_turns), *([" ".join(notes)] if notes else [])])


def table_rows(rows: pd.DataFrame, cells: Callable[[Any], dict[str, object]]) -> pd.DataFrame:
    """What `cells` makes of each row: by heading, what is shown."""
    return pd.DataFrame([cells(row) for row in rows.itertuples()])


def machines(rows: pd.DataFrame) -> str:
    """On what machines the rows were measured; empty if the file does not tell."""
    return ", ".join(name for name in dict.fromkeys(machine_names(rows)) if name)


def machine_names(rows: pd.DataFrame) -> list[str]:
    """Of each row, the accelerator that it was measured on, else the processor and how many of its cores."""
    if "cpu" not in rows:
        return [""] * len(rows)
    kinds = rows["accelerator"].astype(object).fillna("") if "accelerator" in rows else [""] * len(rows)
    return [
        kind or (f"{row.cpus:.0f} cores of {row.cpu}" if row.cpus > 0 else "")
        for kind, row in zip(kinds, rows.itertuples(), strict=True)
    ]
