"""Finetuning, few-shot and robustness of Table 2's encoders: `python analysis/make_transfer.py [--scale=...]`.

Prints what this repository publishes beside the reader's own results, and writes `transfer.md`, `transfer.csv` and
`transfer.tex` into `results/<scale>/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from analysis.lib import head, orderings, scores, statistics
from analysis.lib.command import run
from analysis.lib.page import Page
from analysis.lib.results import Results, per_cent, read
from analysis.lib.tables import to_markdown
from experiments.harness.methods import preset
from experiments.harness.scales import MODEL_ROLES
from experiments.harness.setting import Setting
from experiments.harness.spec import Spec
from experiments.transfer import NEEDS, TRAINED, UNTRAINED

SPECS = {str(spec): spec for spec in TRAINED + UNTRAINED}
SHOTS_BY_SET = 10  # of the table with a column for each data set


def render(setting: Setting, *, brief: bool = False) -> str:
    """Writes the three files and returns the Markdown, or of it the tables alone if `brief`.

    Raises DataError if a file of the results is damaged.
    """
    found = read(NEEDS, setting)
    tables = {
        "Linear probe and finetuning, top-1 in %": by_source(found, finetuning),
        "Few-shot by ridge regression, top-1 in %, mean over the data sets": by_source(found, few_shot, "few_shot"),
        "Few-shot by SGD, top-1 in %, mean over the data sets": by_source(found, few_shot, "few_shot_sgd"),
        f"Few-shot by ridge regression with {SHOTS_BY_SET} images a class, top-1 in %": by_source(
            found, few_shot_sets, "few_shot"
        ),
        "Robustness of the finetuned model, top-1 in %": by_source(found, robustness, "robustness"),
    }
    tables = {title: table for title, table in tables.items() if not table.empty}
    parts = [part for title, table in tables.items() for part in (f"## {title}", to_markdown(table))]
    page = Page(head.title("Transfer of the encoders of Table 2", setting))
    page.add("Mean ± standard deviation (seeds). Published: what this repository gives. Yours: what this machine made.")
    page.bullets(head.describe(found, setting))
    page.bullets(head.missing(found, NEEDS, setting, "transfer"), "Not measured, and the command that does:")
    page.bullets([*found.left_out, *head.warnings(found)], "**Left out, or not comparable:**")
    for part in parts:
        page.add(part)
    if not found.records.empty:
        page.add("## What they say")
        page.add(orderings.RULE)
        page.add(to_markdown(gains(found)))
    numbers = found.records.drop(columns="correct")
    page.write(setting, "transfer", numbers[numbers["metric"] == "top1"], caption=page.title.lstrip("# "))
    return "\n\n".join(parts) if brief else page.text


def by_source(found: Results, make: Callable[..., pd.DataFrame], *arguments: str) -> pd.DataFrame:
    """The tables that `make(runs of a source, ...)` returns by row, one under the other, with whose they are."""
    made = []
    for source in found.sources:
        runs = found.records[found.records["source"] == source]
        cells = make(per_cent(runs), *arguments)
        names = [row for row in SPECS if row in cells.index]
        specs = [SPECS[row] for row in names]
        front = pd.DataFrame(
            {
                "Method": [preset(spec.method).title for spec in specs],
                "Encoder": [MODEL_ROLES[spec.model] for spec in specs],
                "Epochs": [f"{spec.epochs:g}" for spec in specs],
                "Whose": source,
            },
            index=names,
        )
        made.append(front.join(cells))
    whole = pd.concat(made) if made else pd.DataFrame()
    return whole.sort_values("Whose", key=lambda _: [list(SPECS).index(row) for row in whole.index], kind="stable")


def finetuning(runs: pd.DataFrame) -> pd.DataFrame:
    """Linear probe, and all weights: finetuned, or trained from scratch for an untrained encoder."""
    trained = runs[runs["eval"].isin(("finetune", "finetune_scratch"))]
    columns = {"Linear probe": _top1(runs, "linear_probe"), "All weights": dict(scores.cells(_metric(trained, "top1")))}
    return pd.DataFrame(columns).dropna(subset="All weights")


def few_shot(runs: pd.DataFrame, evaluation: str) -> pd.DataFrame:
    """A column for each number of images a class: the mean over the data sets."""
    shots = _shots(runs, evaluation)
    of_run = shots.groupby(["shots", "row", "seed"], as_index=False, sort=False).agg(
        value=("value", "mean"), n=("n", "sum")
    )
    columns = {f"{k}-shot": dict(scores.cells(group)) for k, group in of_run.groupby("shots")}
    return pd.DataFrame(columns)


def few_shot_sets(runs: pd.DataFrame, evaluation: str) -> pd.DataFrame:
    """A column for each data set."""
    shots = _shots(runs, evaluation)
    chosen = shots[shots["shots"] == SHOTS_BY_SET]
    return pd.DataFrame({name: dict(scores.cells(group)) for name, group in chosen.groupby("set", sort=False)})


def robustness(runs: pd.DataFrame, evaluation: str) -> pd.DataFrame:
    """A column for each test set."""
    mine = runs[(runs["eval"] == evaluation) & runs["metric"].str.endswith("/top1")]
    sets = mine.assign(set=mine["metric"].str.removesuffix("/top1"))
    return pd.DataFrame({name: dict(scores.cells(group)) for name, group in sets.groupby("set", sort=False)})


def gains(found: Results) -> pd.DataFrame:
    """Whether finetuning beats the linear probe and training from scratch: claims about one table of all top-1."""
    scratch = {spec.model: spec for spec in UNTRAINED}
    pairs = [
        (spec, what, (str(spec), "finetune"), other)
        for spec in TRAINED
        for what, other in (
            ("the linear probe", (str(spec), "linear_probe")),
            ("training from scratch", (str(scratch[spec.model]), "finetune_scratch")),
        )
    ]
    columns: dict[str, Sequence[object]] = {
        "Finetuning of": [_name(spec) for spec, _, _, _ in pairs],
        "beats": [what for _, what, _, _ in pairs],
    }
    for source in found.sources:
        runs = found.records[(found.records["source"] == source) & (found.records["metric"] == "top1")]
        rows = pd.Series(list(zip(runs["row"], runs["eval"], strict=True)), index=runs.index, dtype=object)
        verdicts = statistics.compare(per_cent(runs).assign(row=rows), [(above, below) for _, _, above, below in pairs])
        columns |= orderings.verdict_columns(source, verdicts)
    return pd.DataFrame(columns)


def _name(spec: Spec) -> str:
    return f"{preset(spec.method).title} {MODEL_ROLES[spec.model]}"


def _metric(runs: pd.DataFrame, metric: str) -> pd.DataFrame:
    return runs[runs["metric"] == metric]


def _top1(runs: pd.DataFrame, evaluation: str) -> Mapping[str, str]:
    return dict(scores.cells(_metric(runs[runs["eval"] == evaluation], "top1")))


def _shots(runs: pd.DataFrame, evaluation: str) -> pd.DataFrame:
    """The metrics `<set>/<k>shot` of an evaluation, with both parts as columns."""
    mine = runs[runs["eval"] == evaluation]
    parts = mine["metric"].str.extract(r"^(?P<set>.*)/(?P<shots>\d+)shot$")
    return mine.assign(**parts).dropna(subset="shots").astype({"shots": int})


if __name__ == "__main__":
    run(render)
