"""Which commits make equal results: shown by runs that one made and another made anew, on one kind of processor.

FILE, in `results/published/<scale>/`, has a line for each such run: what was equal to the bit, and which two commits
made it. Numbers of two commits stand beside each other where such lines join them, one by one or in a chain.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from analysis.lib.documents import to_csv
from analysis.lib.origins import PRETRAINING
from analysis.lib.results import PUBLISHED, YOURS, Results
from can.system.files import write_atomic

FILE = "made_anew.csv"
COLUMNS = ["kind", "before", "anew", "run", "processor"]


def shown(found: Results) -> pd.DataFrame:
    """A line, with COLUMNS, for each result of the reader's that equals one which another commit published."""
    weights = {(source, run.folder.name): run.folder.weights for source, run in found.runs}
    values = {key: of_eval for key, of_eval in found.records.groupby(["source", "run", "eval"], sort=False)}
    before = {(one.run, one.kind): one for one in found.origins if one.source == PUBLISHED}

    def equal(run: str, kind: str) -> bool:
        if weights[PUBLISHED, run] != weights[YOURS, run] or kind == PRETRAINING:
            return weights[PUBLISHED, run] == weights[YOURS, run]
        old, new = (_numbers(values[source, run, kind]) for source in (PUBLISHED, YOURS))
        return old == new

    lines = [
        (one.kind, old.commit, one.commit, one.run, one.processor)
        for one in dict.fromkeys(found.origins)
        if one.source == YOURS and (old := before.get((one.run, one.kind))) is not None
        if old.commit != one.commit and old.processor == one.processor and equal(one.run, one.kind)
    ]
    return pd.DataFrame(list(dict.fromkeys(lines)), columns=COLUMNS)


def noted(path: Path) -> pd.DataFrame:
    """The lines of a file, none where it is missing."""
    return pd.read_csv(path, dtype=str) if path.exists() else pd.DataFrame(columns=COLUMNS)


def note(path: Path, lines: pd.DataFrame) -> None:
    """Adds lines that the file has not."""
    if len(lines):
        everything = pd.concat([noted(path), lines]).drop_duplicates(["kind", "before", "anew"])
        write_atomic(path, to_csv(everything))


def apart(kind: str, commits: Iterable[str], lines: pd.DataFrame) -> list[str]:
    """One commit of each group that the lines of a kind do not join; a single one if all are as good as one."""
    asked = set(commits)
    groups = [{commit} for commit in sorted(asked)]
    for line in lines[lines["kind"] == kind].itertuples():
        pair = {line.before, line.anew}
        merged = set(pair).union(*(group for group in groups if group & pair))
        groups = [*(group for group in groups if not group & pair), merged]
    return [found[0] for group in groups if (found := sorted(group & asked))]


def _numbers(records: pd.DataFrame) -> dict[str, tuple[float, int, bytes | None]]:
    """By metric what an evaluation found."""
    return {
        line.metric: (line.value, line.n, None if line.correct is None else line.correct.tobytes())
        for line in records.itertuples()
    }
