"""Compares your results with those that this repository publishes: `python analysis/verify.py [--scale=...]`.

A number is `equal` if it is the published one of the same run to the last digit. Else it is `within` or `outside` the
95 % interval in which one more run of the published row would lie. At `laptop`, on another machine of the same kind
of processor, all numbers of Table 2 came out equal. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import pandas as pd

from analysis.lib import head
from analysis.lib.agreement import EQUAL, OUTSIDE, UNKNOWN, WITHIN, agreement
from analysis.lib.command import run
from analysis.lib.page import Page
from analysis.lib.results import PUBLISHED, YOURS, Results, read
from analysis.lib.tables import to_markdown
from experiments.harness.declared import all_needs
from experiments.harness.setting import Setting

LEVELS = (EQUAL, WITHIN, OUTSIDE, UNKNOWN)


def render(setting: Setting, *, brief: bool = False) -> str:
    """How many of the reader's numbers agree, and which do not, or only how many if `brief`.

    Raises DataError if a file is damaged.
    """
    found = read(all_needs(), setting)
    compared = compare(found)
    page = Page(head.title("Your results against the published ones", setting))
    if compared.empty:
        command = f"bash experiments/table2_jft.sh --scale={setting.scale.name}"
        page.add(f"There are no results of yours at this scale: make some with `{command}`.")
        return page.text
    counts = (
        compared.groupby(["eval", "level"]).size().unstack(fill_value=0).reindex(columns=list(LEVELS), fill_value=0)
    )
    words = ", ".join(f"{int(counts[level].sum()):,} {level}" for level in LEVELS)
    page.add(f"Of your {len(compared):,} numbers: {words}.")
    if brief:
        return page.text
    page.add(to_markdown(counts.rename_axis(None, axis="columns").reset_index().rename(columns={"eval": "Evaluation"})))
    page.add(f"{UNKNOWN}: no published row has this number with two seeds or more.")
    outside = compared[compared["level"] == OUTSIDE]
    page.bullets((_line(number) for number in outside.itertuples()), "Outside:")
    page.bullets(found.left_out, "**Left out:**")
    return page.text


def compare(found: Results) -> pd.DataFrame:
    """A line for each of the reader's numbers: `eval`, `metric` and what `analysis.lib.agreement` says."""
    yours = found.records[found.records["source"] == YOURS]
    compared = [
        agreement(mine, found.of(PUBLISHED, evaluation, metric)).assign(eval=evaluation, metric=metric)
        for (evaluation, metric), mine in yours.groupby(["eval", "metric"], sort=False)
    ]
    return pd.concat(compared, ignore_index=True) if compared else pd.DataFrame()


def _line(number: pd.Series) -> str:
    interval = f"[{number.low:.4f}, {number.high:.4f}]"
    return f"{number.row} seed {number.seed}, {number.eval} {number.metric}: {number.value:.4f}, expected in {interval}"


if __name__ == "__main__":
    run(render)
