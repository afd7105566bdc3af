"""Table 1: what each part of the denoising brings: `python analysis/make_table1.py [--scale=...]`.

Prints what this repository publishes beside the reader's own results and the paper's values, and writes `table1.md`,
`table1.csv` and `table1.tex` into `results/<scale>/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from itertools import combinations

import pandas as pd

from analysis.lib import orderings, paper_table, significance
from analysis.lib.command import run
from analysis.lib.orderings import Ordering
from analysis.lib.paper import PaperValue, paper_values, printed_at
from analysis.lib.paper_table import PaperTable
from analysis.lib.pools import pooled
from analysis.lib.results import Results
from can.commands.scales import MODEL_ROLES
from can.commands.setting import Setting
from experiments.table1_denoising import FULL, NEEDS, VARIANTS

EVAL, METRIC = "linear_probe", "top1"
PARTS = {  # what each variant has
    "None": "no noise",
    "+noise": "noise on the input",
    "+noise, +loss": "and a loss that predicts it",
    "Full": "and its level told to the decoder",
}


def what(found: Results) -> str:
    """What the table's numbers are."""
    tested_on = paper_table.tested_on(found, EVAL, METRIC)
    return f"Top-1 accuracy in %, mean ± standard deviation (seeds). {tested_on}".strip()


def introduction(found: Results, setting: Setting, whose: str) -> list[str]:
    """What the rows are, and whose numbers stand where."""
    return [
        what(found),
        f"CAN on {MODEL_ROLES[FULL.model]}, {FULL.epochs:g} epochs of IN-1K. Paper: on IN-1K, as printed; it does not "
        f"name the evaluation. {whose}",
    ]


def printed() -> dict[str, PaperValue]:
    """What the paper prints of each variant."""
    values = printed_at(paper_values(), "Table 1", "linear_probe_top1")
    return {value.method.removeprefix("CAN: "): value for value in values}


def frame(found: Results) -> pd.DataFrame:
    """The table, as text."""
    paper = printed()
    return pd.DataFrame(
        {
            "Denoising": list(VARIANTS),
            "That is": [PARTS[name] for name in VARIANTS],
            "Paper": [paper[name].value for name in VARIANTS],
            **paper_table.columns(found, EVAL, METRIC, list(VARIANTS.values())),
        }
    )


def numbers(found: Results) -> pd.DataFrame:
    """The table, as numbers."""
    images, steps, tested = (paper_table.shared(found, EVAL, METRIC, column) for column in ("images", "steps", "n"))
    paper = printed()
    return pd.DataFrame(
        {
            "variant": list(VARIANTS),
            "images_seen": [images.get(spec) for spec in VARIANTS.values()],
            "steps": [steps.get(spec) for spec in VARIANTS.values()],
            "test_images": [tested.get(spec) for spec in VARIANTS.values()],
            "paper": [paper[name].value for name in VARIANTS],
            **paper_table.numbers(found, EVAL, METRIC, list(VARIANTS.values())),
        }
    ).convert_dtypes()


def judge(found: Results, setting: Setting) -> tuple[list[Ordering], paper_table.Judged]:
    """The order that the paper's numbers have, each variant against each, and what each source says of it."""
    paper = printed()
    ordered = sorted(VARIANTS, key=lambda name: paper[name].number, reverse=True)
    where = f"{MODEL_ROLES[FULL.model]} {FULL.epochs:g}"
    claims = [
        Ordering(
            f"“{above}” above “{below}”",
            where,
            VARIANTS[above],
            VARIANTS[below],
            paper[above].number - paper[below].number,
        )
        for above, below in combinations(ordered, 2)
    ]
    runs = pooled(setting, found.sources, EVAL)
    judged = {source: orderings.judged(claims, of_source, EVAL, METRIC) for source, of_source in runs.items()}
    return claims, judged


def in_words(verdicts: pd.DataFrame) -> str:
    """How many of the paper's orderings hold, and of the comparisons with no denoising at all."""
    against_none = verdicts["below"] == VARIANTS["None"]
    return " ".join(
        (
            significance.in_words(verdicts["verdict"], "orderings of the paper"),
            significance.in_words(verdicts[against_none]["verdict"], "comparisons with no denoising"),
        )
    )


TABLE = PaperTable(
    "table1",
    "table1_denoising",
    NEEDS,
    "Table 1: linear probe without parts of the denoising",
    what,
    introduction,
    frame,
    numbers,
    judge,
    in_words,
)
render = TABLE.render


if __name__ == "__main__":
    run(render)
