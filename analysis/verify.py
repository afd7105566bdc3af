"""Compares your results with those that this repository publishes: `python analysis/verify.py [--scale=...]`.

See MEANINGS for what is said of a number. On a second machine with the same kind of processor, all 13 laptop numbers
of an earlier Table 2 came out equal. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import pandas as pd

from analysis.lib import captions, processors
from analysis.lib.agreement import EQUAL, OUTSIDE, UNKNOWN, WITHIN, agreement
from analysis.lib.command import run
from analysis.lib.documents import Page, to_markdown
from analysis.lib.results import PUBLISHED, YOURS, Results, read
from can.commands.setting import Setting
from experiments.harness.declared import all_needs

LEVELS = [EQUAL, WITHIN, OUTSIDE, UNKNOWN]
MEANINGS = {
    EQUAL: "equal: the published number of the same run, to the last digit.",
    WITHIN: "within: in the 95 % interval in which one more run of the published row would lie.",
    OUTSIDE: "outside: not in that interval, as one number in 20 would be by chance.",
    UNKNOWN: "unknown: nothing is published of this row, or no published row has two seeds.",
}


def render(setting: Setting, *, brief: bool = False) -> str:
    """How many of the reader's numbers agree, and which do not, or only how many if `brief`.

    Raises DataError if a file is damaged.
    """
    found = read(all_needs(), setting)
    compared = compare(found)
    page = Page(captions.title("Your results against the published ones", setting))
    if compared.empty:
        page.add(f"There are no results of yours here: make some with {captions.command_line(setting, 'table2_jft')}.")
    else:
        if PUBLISHED not in found.sources:
            page.add("There are no published results to compare them with.")
        counts = compared.groupby(["eval", "level"]).size().unstack(fill_value=0).reindex(columns=LEVELS, fill_value=0)
        words = ", ".join(f"{int(counts[level].sum()):,} {level}" for level in LEVELS)
        page.add(f"Of your {len(compared):,} numbers: {words}.")
        if brief:
            return page.text
        page.add(to_markdown(counts.rename_axis(None, axis="columns").rename_axis("Evaluation").reset_index()))
        page.bullets(processors.named(found), "Trained on these kinds of processors, whose sums may round otherwise:")
        page.bullets(MEANINGS[level] for level in LEVELS if counts[level].any())
        outside = compared[compared["level"] == OUTSIDE]
        page.add("" if outside.empty else "## Outside")
        page.add("" if outside.empty else to_markdown(_as_text(outside)))
    page.bullets([*found.left_out, *captions.warnings(found)], "**Left out, or not comparable:**")
    return page.text


def compare(found: Results) -> pd.DataFrame:
    """A line for each of the reader's numbers: `eval`, `metric` and what `analysis.lib.agreement` says."""
    yours = found.records[found.records["source"] == YOURS].drop_duplicates(["run", "eval", "metric"])
    compared = [
        agreement(mine, found.of(PUBLISHED, evaluation, metric)).assign(eval=evaluation, metric=metric)
        for (evaluation, metric), mine in yours.groupby(["eval", "metric"], sort=False)
    ]
    return pd.concat(compared, ignore_index=True) if compared else pd.DataFrame()


def _as_text(numbers: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Row": [f"{spec} ({spec.data})" for spec in numbers["row"]],
            "Seed": numbers["seed"],
            "Evaluation": numbers["eval"],
            "Metric": numbers["metric"],
            "Yours": [f"{value:.4f}" for value in numbers["value"]],
            "Expected from": [f"{low:.4f}" for low in numbers["low"]],
            "to": [f"{high:.4f}" for high in numbers["high"]],
        }
    )


if __name__ == "__main__":
    run(render)
