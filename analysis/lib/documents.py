"""Documents as text: Markdown pages with tables, which are LaTeX (booktabs) and CSV files beside them.

Tables are pandas frames. Their cells arrive as text, or as numbers that the caller has rounded; a missing one is shown
as "–".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pandas as pd

from analysis.lib.captions import bullets
from can.commands.setting import Setting
from can.system.files import write_atomic

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


DIGITS = 6  # of the numbers in CSV files; the last ones of a float depend on the order of a sum


class Page:
    """Paragraphs under a title; empty ones are left out."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts = [title]
        self._tables: list[tuple[pd.DataFrame, str, Sequence[int]]] = []

    def add(self, paragraph: str) -> None:
        """Adds a paragraph, a heading or a table."""
        if paragraph:
            self._parts.append(paragraph)

    def bullets(self, lines: Iterable[str], introduction: str = "") -> None:
        """Adds a list, with what introduces it; nothing if the list is empty."""
        lines = list(lines)
        if lines:
            self.add(introduction)
            self.add(bullets(lines))

    def table(self, frame: pd.DataFrame, *, caption: str, rules_before: Sequence[int] = ()) -> None:
        """Adds a table; with its caption, and lines before these rows, it is in the LaTeX file too."""
        self.add(to_markdown(frame))
        self._tables.append((frame, caption.replace("`", "").replace("*", ""), rules_before))

    @property
    def text(self) -> str:
        """The page."""
        return "\n\n".join(self._parts) + "\n"

    def write(self, setting: Setting, name: str, numbers: pd.DataFrame | None = None) -> None:
        """Writes the files of the page beside the reader's results."""
        for file, text in self.files(name, numbers).items():
            write_atomic(setting.results_dir / setting.scale.name / file, text)

    def files(self, name: str, numbers: pd.DataFrame | None = None) -> dict[str, str]:
        """The texts of `<name>.md`, of its tables as `<name>.tex`, and of `numbers` as `<name>.csv`.

        Without `numbers` there is no CSV file: a figure of this name has one of its own (`figures.save`).
        """
        floats = [
            to_latex(
                frame, caption=caption, label=f"tab:{name}" + (f"-{place}" if place > 1 else ""), rules_before=rules
            )
            for place, (frame, caption, rules) in enumerate(self._tables, 1)
        ]
        texts = {"md": self.text, "tex": "\n".join(floats)}
        if numbers is not None:
            texts["csv"] = to_csv(numbers.round(DIGITS))
        return {f"{name}.{ending}": text for ending, text in texts.items()}
