"""A table of the paper: its rows under their head, what is missing, what holds of its orderings, and its cells."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.lib import captions, orderings, significance
from analysis.lib.documents import Page, to_markdown
from analysis.lib.orderings import Ordering
from analysis.lib.results import Results, per_cent, read
from can.commands.setting import Setting
from can.commands.spec import Need, Spec

Judged = dict[str, pd.DataFrame]  # by source: what `analysis.lib.orderings.judged` returned
QUESTION = "Do the paper's orderings hold here?"
CHANCE = "chance"  # the metric of a constant guess


@dataclass(frozen=True)
class PaperTable:
    """What is particular to a table.

    Attributes:
      name: of its files, such as `table2`.
      command: the script of `experiments/` that makes its runs.
      needs: what it reads.
      title: its heading.
      what: what its numbers are, for the caption.
      introduction: the paragraphs before it; whose numbers stand where is the third argument.
      frame: the table as text, the paper's column beside each source's.
      numbers: the same as numbers, for the CSV file.
      judge: the orderings that it should show, and what each source says of them.
      in_words: how many of these hold.
      rules_before: rows that a thin line sets apart in LaTeX.
      question, rule, digits: how the orderings are shown (`add_claims`).
      closing: adds what comes after them.
    """

    name: str
    command: str
    needs: Sequence[Need]
    title: str
    what: Callable[[Results], str]
    introduction: Callable[[Results, Setting, str], Sequence[str]]
    frame: Callable[[Results], pd.DataFrame]
    numbers: Callable[[Results], pd.DataFrame]
    judge: Callable[[Results, Setting], tuple[list[Ordering], Judged]]
    in_words: Callable[[pd.DataFrame], str]
    rules_before: Sequence[int] = ()
    question: str = QUESTION
    rule: str = orderings.RULE
    digits: int = 1
    closing: Callable[[Page, Results], None] | None = None

    def render(self, setting: Setting, *, brief: bool = False) -> str:
        """Writes the three files of the table and returns the Markdown, or of it the table alone if `brief`.

        Raises DataError if a file of the results is damaged.
        """
        found = read(self.needs, setting)
        page = Page(captions.title(self.title, setting))
        for paragraph in self.introduction(found, setting, captions.whose(found, setting, self.command)):
            page.add(paragraph)
        table = self.frame(found)
        add_table(page, table, found, setting, self.what(found), self.rules_before)
        add_gaps(page, found, self.needs, setting, self.command)
        claims, judged = self.judge(found, setting)
        shown = {"question": self.question, "rule": self.rule}
        add_claims(page, claims, judged, self.in_words, digits=self.digits, **shown)
        if self.closing:
            self.closing(page, found)
        page.write(setting, self.name, self.numbers(found))
        return to_markdown(table) if brief else page.text


def add_table(
    page: Page, table: pd.DataFrame, found: Results, setting: Setting, what: str, rules_before: Sequence[int] = ()
) -> None:
    """Adds the table, before it what played the paper's roles; the caption has both, and `what` its numbers are."""
    description = captions.describe(found, setting)
    page.bullets(description)
    caption = " ".join(filter(None, [f"{page.title.lstrip('# ')}.", what, *description]))
    page.table(table, caption=caption, rules_before=rules_before)


def add_gaps(page: Page, found: Results, needs: Sequence[Need], setting: Setting, command: str) -> None:
    """Adds the rows that nobody has measured, with their commands, and what is left out or cannot be compared."""
    page.bullets(captions.missing(found, needs, setting, command), captions.how_to_measure(setting, command))
    page.bullets([*found.left_out, *captions.warnings(found)], "**Left out, or not comparable:**")


def add_claims(
    page: Page,
    claims: Sequence[Ordering],
    judged: Judged,
    in_words: Callable[[pd.DataFrame], str],
    *,
    question: str = QUESTION,
    rule: str = orderings.RULE,
    digits: int = 1,
) -> None:
    """Adds what each source says of the claims, in words and as a table; nothing if nothing is measured."""
    if not judged:
        return
    page.add(f"## {question}")
    page.bullets(f"{source.capitalize()}: {in_words(verdicts)}" for source, verdicts in judged.items())
    page.add(rule)
    claimed = orderings.table(claims, judged, digits)
    page.add(to_markdown(claimed) if len(claimed) else "")


def cells(runs: pd.DataFrame, digits: int = 1) -> Mapping[Hashable, str]:
    """`80.7 ± 0.4 (3)` for each row: mean, standard deviation and number of seeds of the values as they are given."""
    return {line.row: score(line.mean, line.sd, line.seeds, digits) for line in significance.summary(runs).itertuples()}


def score(mean: float, sd: float | None, seeds: int, digits: int = 1) -> str:
    """`80.7 ± 0.4 (3)`; one seed has no deviation."""
    deviation = "" if sd is None or pd.isna(sd) else f" ± {sd:.{digits}f}"
    return f"{mean:.{digits}f}{deviation} ({seeds})"


def columns(found: Results, evaluation: str, metric: str, rows: Sequence[Spec | None]) -> dict[str, list[str | None]]:
    """A column of each source for one metric, over `rows`."""
    made = {}
    for source in found.shown:
        scores = cells(per_cent(found.of(source, evaluation, metric)))
        made[source.capitalize()] = [scores.get(row) for row in rows]
    return made


def numbers(found: Results, evaluation: str, metric: str, rows: Sequence[Spec | None]) -> dict[str, list[Any]]:
    """What `columns` shows, as numbers in per cent for a CSV file: `<source>_mean`, `_sd` and `_seeds`."""
    made: dict[str, list[Any]] = {}
    for source in found.shown:
        runs = per_cent(found.of(source, evaluation, metric))
        lines = {line.row: line for line in significance.summary(runs).itertuples()}
        for name in ("mean", "sd", "seeds"):
            made[f"{source}_{name}"] = [getattr(lines[row], name) if row in lines else pd.NA for row in rows]
    return made


def shared(found: Results, evaluation: str, metric: str, column: str) -> dict[Spec | None, int]:
    """What the runs of a row share that have a metric: `images`, `steps` or `n` of `Results.records`."""
    of_metric = found.records[(found.records["eval"] == evaluation) & (found.records["metric"] == metric)]
    return dict(zip(of_metric["row"], of_metric[column], strict=True))


def tested_on(found: Results, evaluation: str, metric: str) -> str:
    """How many images the numbers are of, and what a constant guess gets on them; empty if there are no numbers."""
    of_eval = found.records[found.records["eval"] == evaluation]
    counts = sorted(of_eval[of_eval["metric"] == metric]["n"].unique())
    guesses = sorted(of_eval[of_eval["metric"] == CHANCE]["value"].unique())
    sentences = [f"Test images: {', '.join(f'{count:,}' for count in counts)}."] if counts else []
    if guesses:
        shares = ", ".join(f"{100 * guess:.1f}" for guess in guesses)
        sentences.append(f"Chance, which is always naming the most frequent class: {shares} %.")
    return " ".join(sentences)
