"""A table as Markdown that is also readable in a terminal, as CSV and as LaTeX (booktabs); rows read from CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Row = Mapping[str, str]  # of a CSV file, by column

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "±": r"$\pm$",
        "×": r"$\times$",
        "→": r"$\rightarrow$",
        "−": "$-$",
    }
)


class Table(NamedTuple):
    """Cells as text. `numeric` tells the columns to align right."""

    columns: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Sequence[str]]


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file; none if there is no file, as before anything is measured."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def to_markdown(table: Table) -> str:
    """A Markdown table whose columns line up as plain text too."""
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(cells, widths, table.numeric, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width - 1) + (":" if numeric else "-") for width, numeric in zip(widths, table.numeric, strict=True)]
    return "\n".join([line(table.columns), line(rule), *map(line, table.rows)])


def to_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """CSV with a header; None becomes an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([columns, *rows])
    return text.getvalue()


def to_latex(table: Table, *, caption: str, label: str, rules_before: Sequence[int] = ()) -> str:
    """A `table` float that needs the booktabs package; `rules_before` are rows that a thin line sets apart."""
    alignment = "".join("r" if numeric else "l" for numeric in table.numeric)
    lines = []
    for index, row in enumerate(table.rows):
        lines += [r"    \midrule"] if index in rules_before else []
        lines.append("    " + " & ".join(map(escape_latex, row)) + r" \\")
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \begin{{tabular}}{{{alignment}}}",
            r"    \toprule",
            "    " + " & ".join(map(escape_latex, table.columns)) + r" \\",
            r"    \midrule",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            rf"  \caption{{{escape_latex(caption)}}}",
            rf"  \label{{{label}}}",
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """`text` with LaTeX's special characters, and the ones that tables use, written for LaTeX."""
    return text.translate(_LATEX)
