"""What the pages of tables have in common: the table under its head, what is missing, and what holds of the claims."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.lib import head, more_seeds, orderings
from analysis.lib.orderings import Claim
from analysis.lib.page import Page
from analysis.lib.results import Results
from analysis.lib.tables import to_markdown
from experiments.harness.setting import Setting
from experiments.harness.spec import Need

Judged = dict[str, pd.DataFrame]  # by source: what `analysis.lib.orderings.judged` returned


def add_table(
    page: Page, table: pd.DataFrame, found: Results, setting: Setting, what: str, rules_before: Sequence[int] = ()
) -> None:
    """Adds the table, before it what played the paper's roles; the caption has both, and `what` its numbers are."""
    description = head.describe(found, setting)
    page.bullets(description)
    caption = " ".join(filter(None, [f"{page.title.lstrip('# ')}.", what, *description]))
    page.table(table, caption=caption, rules_before=rules_before)


def add_gaps(page: Page, found: Results, needs: Sequence[Need], setting: Setting, command: str) -> None:
    """Adds the rows that nobody has measured, with their commands, and what is left out or cannot be compared."""
    page.bullets(head.missing(found, needs, setting, command), head.how_to_measure(setting, command))
    page.bullets([*found.left_out, *head.warnings(found)], "**Left out, or not comparable:**")


def add_claims(
    page: Page,
    claims: Sequence[Claim],
    judged: Judged,
    in_words: Callable[[pd.DataFrame], str],
    *,
    question: str = "Do the paper's orderings hold here?",
    rule: str = orderings.RULE,
    digits: int = 1,
) -> None:
    """Adds what each source says of the claims, in words and as a table; nothing if nothing is measured."""
    if not judged:
        return
    page.add(f"## {question}")
    page.bullets(
        f"{source.capitalize()}: {in_words(verdicts)} {more_seeds.in_words(verdicts)}".rstrip()
        for source, verdicts in judged.items()
    )
    page.add(rule)
    claimed = orderings.table(claims, judged, digits)
    page.add(to_markdown(claimed) if len(claimed) else "")
