"""Rows that are tested on several sets: their scores set by set, and on how many sets one is above its rivals.

Each test set is a table of `significance.py` by itself, since its images are its own: the seeds' standard deviation is
pooled over the rows on that set. The claims of all sets that are judged together are one family for Holm's rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.lib import paper_table, significance
from analysis.lib.multiplicity import holm
from analysis.lib.orderings import signed
from analysis.lib.paper import paper_values
from analysis.lib.significance import MISSING
from can.commands.methods import preset
from can.commands.scales import DATA_ROLES, MODEL_ROLES
from can.commands.spec import Spec

BySet = Mapping[str, pd.DataFrame]  # by test set: the runs of one source, values in per cent

RULE = (
    "A difference is decided if its 95 % interval does not hold 0, after Holm's adjustment for the number of claims of "
    "the figure. The interval is from the standard deviation of seeds, pooled over all rows on that set, and the error "
    "of the finite set; rows are paired by seed. One seed decides nothing."
)


class Contest(NamedTuple):
    """A row that should be above its rivals, all of them, on each set."""

    title: str
    where: str
    first: Spec
    rivals: tuple[Spec, ...]
    paper: str | None = None  # on how many sets it is so there, as "6 of 7"; None where the paper prints no number

    @property
    def pairs(self) -> list[tuple[Spec, Spec]]:
        """The row against each of its rivals."""
        return [(self.first, rival) for rival in self.rivals]


def against(
    where: str, first: Spec, groups: Sequence[tuple[Spec, ...]], paper: Mapping[tuple[Spec, ...], str] | None = None
) -> list[Contest]:
    """A row against each group of rivals; `paper` has the counts that are printed, by group."""
    printed = paper or {}
    above = f"{preset(first.method).title} above"
    return [
        Contest(
            f"{above} {' and '.join(preset(rival.method).title for rival in rivals)}",
            where,
            first,
            rivals,
            printed.get(rivals),
        )
        for rivals in groups
    ]


def printed_count(metric: str) -> str:
    """A count of sets that the paper prints, as `6 of 7`."""
    (found,) = [value for value in paper_values() if value.metric == metric]
    return f"{found.value} {found.note}"


def score_table(by_source: Mapping[str, BySet], rows: Sequence[Spec]) -> pd.DataFrame:
    """A line for each row and source, a column for each set.

    A row that nobody has measured has a line without scores.
    """
    cells = {
        source: {name: paper_table.cells(runs) for name, runs in sets.items()} for source, sets in by_source.items()
    }
    lines: list[dict[str, str | None]] = []
    for spec in rows:
        line: dict[str, str | None] = {
            "Method": preset(spec.method).title,
            "Encoder": MODEL_ROLES[spec.model],
            "Data": DATA_ROLES[spec.data] if spec.epochs else None,
            "Epochs": f"{spec.epochs:g}",
        }
        have = [source for source, sets in cells.items() if any(spec in of_set for of_set in sets.values())]
        lines += [
            line | {"Whose": source} | {name: of_set.get(spec) for name, of_set in cells[source].items()}
            for source in have
        ] or [line]
    return pd.DataFrame(lines)


def judged(contests: Sequence[Contest], runs: BySet) -> pd.DataFrame:
    """A verdict on each contest's pairs on each set, as one family: `set`, and `significance.compare`'s columns."""
    pairs = list(dict.fromkeys(pair for contest in contests for pair in contest.pairs))
    tables = [significance.compare(of_set, pairs).assign(set=name) for name, of_set in runs.items()]
    claims = pd.concat(tables, ignore_index=True)
    tested = claims["seeds"] >= 2
    claims.loc[tested, "p_holm"] = holm(claims.loc[tested, "p"].to_numpy(float))
    decided = claims["p_holm"] < significance.ERROR_RATE
    claims["decided"] = np.where(decided & tested, np.sign(claims["difference"].astype(float)), 0)
    return claims


def difference_table(contests: Sequence[Contest], verdicts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The differences of each contest of one rival, a column a set, by source; decided ones in bold."""
    lines: list[dict[str, str]] = []
    for contest in contests:
        for source, found in verdicts.items():
            of_contest = _of(contest, found)
            measured = of_contest[of_contest["verdict"] != MISSING]
            if len(contest.rivals) == 1 and len(measured):
                cells = {
                    line.set: f"**{signed(line.difference)}**" if line.decided else signed(line.difference)
                    for line in measured.itertuples()
                }
                what = {"Difference": contest.title.replace(" above ", " − "), "Where": contest.where, "Whose": source}
                lines.append(what | cells)
    return pd.DataFrame(lines)


def count_table(contests: Sequence[Contest], verdicts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """On how many sets each contest is won, in the paper and by source; without contests that nobody has measured.

    A set is decided if the row is above every rival there, or below one, by `significance.py`.
    """
    lines: list[dict[str, str | None]] = []
    for contest in contests:
        line: dict[str, str | None] = {"Claim": contest.title, "Where": contest.where, "Paper": contest.paper}
        for source, found in verdicts.items():
            if (count := counted(contest, found)).sets:
                line[source.capitalize()] = f"{count.won} of {count.sets}"
                line[f"{source.capitalize()}: decided"] = f"{count.decided_for} for, {count.decided_against} against"
        if len(line) > 3:
            lines.append(line)
    return pd.DataFrame(lines)


class Count(NamedTuple):
    """On how many sets a contest is measured, won, and decided."""

    sets: int
    won: int
    decided_for: int
    decided_against: int


def counted(contest: Contest, verdicts: pd.DataFrame) -> Count:
    """The sets of one contest; only those on which all of its rows are measured."""
    sets = won = decided_for = decided_against = 0
    for _, found in _of(contest, verdicts).groupby("set", sort=False):
        if (found["verdict"] == MISSING).any():
            continue
        sets += 1
        won += bool((found["difference"] > significance.ROUNDING).all())
        decided_for += bool((found["decided"] > 0).all())
        decided_against += bool((found["decided"] < 0).any())
    return Count(sets, won, decided_for, decided_against)


def _of(contest: Contest, verdicts: pd.DataFrame) -> pd.DataFrame:
    """The verdicts on a contest's pairs."""
    return verdicts[[pair in contest.pairs for pair in zip(verdicts["above"], verdicts["below"], strict=True)]]
