"""A Markdown page that is put together part by part, and its tables and numbers as files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from analysis.lib.head import bullets
from analysis.lib.tables import to_csv, to_latex, to_markdown
from can.system.files import write_atomic
from experiments.harness.setting import Setting

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
