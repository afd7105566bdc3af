"""Tables as text, of pandas frames: Markdown that is also readable in a terminal, LaTeX (booktabs) and CSV.

Cells arrive as text, or as numbers that the caller has rounded; a missing one is shown as "–".
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd

NONE = "–"
_NUMBER = re.compile(r"[*+−-]*\d")  # what a cell starts with whose column is aligned right; ** is bold
_LATEX_SPECIAL = re.compile(r"([&%$#_{}\\~^])")
_LATEX_NAMES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def to_markdown(frame: pd.DataFrame) -> str:
    """A Markdown table whose columns line up as plain text too: text left, numbers right."""
    alignment = ["right" if numeric else "left" for numeric in _numeric(frame)]
    # tabulate is not to read numbers out of text: "2,494" and "1.10" stay as they are.
    return _text(frame).to_markdown(index=False, tablefmt="pipe", disable_numparse=True, colalign=alignment)


def to_latex(frame: pd.DataFrame, *, caption: str, label: str, rules_before: Collection[int] = ()) -> str:
    """A `table` float that needs the booktabs package.

    `rules_before` are positions of rows that a thin line sets apart. Signs such as ± stay as they are: LaTeX reads
    them since 2020.
    """
    styler = _text(frame).style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    lines = styler.to_latex(
        hrules=True,
        column_format="".join("r" if numeric else "l" for numeric in _numeric(frame)),
        position_float="centering",
        caption=_LATEX_SPECIAL.sub(lambda sign: _LATEX_NAMES.get(sign[1], "\\" + sign[1]), caption),
        label=label,
    ).splitlines()
    first = lines.index(r"\midrule") + 1
    for row in sorted(rules_before, reverse=True):
        lines.insert(first + row, r"\midrule")
    return "\n".join(lines) + "\n"


def to_csv(frame: pd.DataFrame) -> str:
    """CSV with a header; a missing cell is an empty field."""
    return frame.to_csv(index=False, lineterminator="\n")


def read_csv(path: Path) -> pd.DataFrame:
    """What `to_csv` wrote; a frame without rows and columns if there is no file, as before anything is measured."""
    if not path.exists():
        return pd.DataFrame()
    return pd.read_csv(path, keep_default_na=False, na_values=[""])  # the text "None" is no missing cell


def _text(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(object).where(frame.notna(), NONE).map(str)


def _numeric(frame: pd.DataFrame) -> list[bool]:
    """Of each column, whether numbers stand in it."""
    return [any(map(_NUMBER.match, column)) for _, column in _text(frame).items()]
