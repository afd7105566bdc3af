"""A Markdown page that is put together part by part, and its table as files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from analysis.lib.head import bullets
from analysis.lib.tables import to_csv, to_latex
from can.files import write_atomic
from experiments.harness.setting import Setting


class Page:
    """Paragraphs under a title; empty ones are left out."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts = [title]

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

    @property
    def text(self) -> str:
        """The page."""
        return "\n\n".join(self._parts) + "\n"

    def write(
        self, setting: Setting, name: str, table: pd.DataFrame, *, caption: str, rules_before: Sequence[int] = ()
    ) -> None:
        """Writes `<name>.md`, and the table as `<name>.csv` and `<name>.tex`, beside the reader's results."""
        folder = setting.results_dir / setting.scale.name
        latex = to_latex(
            table, caption=caption.replace("`", "").replace("*", ""), label=f"tab:{name}", rules_before=rules_before
        )
        write_atomic(folder / f"{name}.md", self.text)
        write_atomic(folder / f"{name}.csv", to_csv(table))
        write_atomic(folder / f"{name}.tex", latex)
