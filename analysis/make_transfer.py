"""Finetuning, few-shot and robustness of Table 2's encoders: `python analysis/make_transfer.py [--scale=...]`.

Prints what this repository publishes beside the reader's own results, and writes `transfer.md`, `transfer.csv` and
`transfer.tex` into `results/<scale>/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from collections.abc import Callable

import pandas as pd

from analysis.lib import head, orderings, scores, statistics, table_page
from analysis.lib.command import run
from analysis.lib.page import Page
from analysis.lib.results import Results, per_cent, read
from analysis.lib.tables import to_markdown
from experiments.harness.methods import preset
from experiments.harness.scales import MODEL_ROLES
from experiments.harness.setting import Setting
from experiments.harness.spec import Spec
from experiments.transfer import NEEDS, TRAINED, UNTRAINED

COMMAND = "transfer"  # of experiments/
SHOTS_BY_SET = 10  # of the table with a column for each data set
TUNED = ("finetune", "finetune_scratch")


def render(setting: Setting, *, brief: bool = False) -> str:
    """Writes the three files and returns the Markdown, or of it the tables alone if `brief`.

    Raises DataError if a file of the results is damaged.
    """
    found = read(NEEDS, setting)
    tables = {
        "Linear probe and finetuning, top-1 in %": by_source(found, finetuning, "linear_probe", *TUNED),
        "Few-shot by ridge regression, top-1 in %, mean over the data sets": by_source(found, few_shot, "few_shot"),
        "Few-shot by SGD, top-1 in %, mean over the data sets": by_source(found, few_shot, "few_shot_sgd"),
        f"Few-shot by ridge regression with {SHOTS_BY_SET} images a class, top-1 in %": by_source(
            found, few_shot_sets, "few_shot"
        ),
        "Robustness of the finetuned model, top-1 in %": by_source(found, robustness, "robustness"),
    }
    tables = {title: table for title, table in tables.items() if not table.empty}
    page = Page(head.title("Transfer of the encoders of Table 2", setting))
    page.add(f"Mean ± standard deviation (seeds). {head.whose(found, setting, COMMAND)}")
    page.add(scores.tested_on(found, "linear_probe", "top1"))
    page.bullets(head.describe(found, setting))
    table_page.add_gaps(page, found, NEEDS, setting, COMMAND)
    for title, table in tables.items():
        page.add(f"## {title}")
        page.table(table, caption=f"{page.title.lstrip('# ')}. {title}, mean ± standard deviation (seeds).")
    claims, judged = gains(found)
    measured = orderings.with_verdicts(claims, judged)
    if len(measured):
        page.add("## Does finetuning gain?")
        page.bullets(
            f"{source.capitalize()}: {statistics.in_words(verdicts['verdict'], 'gains of finetuning')}"
            for source, verdicts in judged.items()
        )
        page.add(orderings.RULE)
        page.add(to_markdown(measured))
    page.write(setting, "transfer", found.records.drop(columns="correct"))
    return "\n\n".join(f"{title}\n\n{to_markdown(table)}" for title, table in tables.items()) if brief else page.text


def by_source(found: Results, make: Callable[..., pd.DataFrame], *evals: str) -> pd.DataFrame:
    """What `make(runs of one source, *evals)` returns by row, under each other: each row, and of it each source's.

    Rows that nobody measured are without cells; the frame is empty if that is so of all.
    """
    by_source = {source: make(per_cent(_of_source(found, source)), *evals) for source in found.sources}
    lines: list[dict[str, str]] = []
    for spec in (need.spec for need in NEEDS if set(evals) & set(need.evals)):
        line = {
            "Method": preset(spec.method).title,
            "Encoder": MODEL_ROLES[spec.model],
            "Epochs": f"{spec.epochs:g}",
        }
        have = [source for source, cells in by_source.items() if spec in cells.index]
        lines += [line | {"Whose": source} | by_source[source].loc[spec].to_dict() for source in have] or [line]
    return pd.DataFrame(lines) if any("Whose" in line for line in lines) else pd.DataFrame()


def finetuning(runs: pd.DataFrame, *evals: str) -> pd.DataFrame:
    """Linear probe, and all weights: finetuned, or trained from scratch for an untrained encoder."""
    top1 = runs[runs["metric"] == "top1"]
    probed, tuned = top1[top1["eval"] == "linear_probe"], top1[top1["eval"].isin(TUNED)]
    return _side_by_side({"Linear probe": probed, "All weights": tuned})


def few_shot(runs: pd.DataFrame, evaluation: str) -> pd.DataFrame:
    """A column for each number of images a class: the mean over the data sets."""
    shots = _shots(runs, evaluation)
    of_run = shots.groupby(["shots", "row", "seed"], as_index=False, sort=False).agg(
        value=("value", "mean"), n=("n", "sum")
    )
    return _side_by_side({f"{k}-shot": group for k, group in of_run.groupby("shots")})


def few_shot_sets(runs: pd.DataFrame, evaluation: str) -> pd.DataFrame:
    """A column for each data set."""
    shots = _shots(runs, evaluation)
    chosen = shots[shots["shots"] == SHOTS_BY_SET]
    return _side_by_side({str(name): group for name, group in chosen.groupby("set", sort=False)})


def robustness(runs: pd.DataFrame, evaluation: str) -> pd.DataFrame:
    """A column for each test set; of damaged images one for the mean over the kinds of damage, which the CSV has."""
    sets = runs.assign(set=runs["metric"].str.extract(r"^([^/]*)/top1$")[0])[runs["eval"] == evaluation]
    return _side_by_side({str(name): group for name, group in sets.groupby("set", sort=False)})


def gains(found: Results) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Whether finetuning beats the linear probe and training from scratch: the claims, and what each source says.

    All top-1 of a source are one table, whose rows are a spec and an evaluation.
    """
    scratch = {spec.model: spec for spec in UNTRAINED}
    pairs = [
        (spec, what, (spec, "finetune"), other)
        for spec in TRAINED
        for what, other in (
            ("the linear probe", (spec, "linear_probe")),
            ("training from scratch", (scratch[spec.model], "finetune_scratch")),
        )
    ]
    claims = pd.DataFrame(
        {"Finetuning of": [_name(spec) for spec, *_ in pairs], "beats": [what for _, what, *_ in pairs]}
    )
    judged = {}
    for source in found.sources:
        runs = _of_source(found, source)
        runs = runs[runs["metric"] == "top1"]
        rows = pd.Series(list(zip(runs["row"], runs["eval"], strict=True)), index=runs.index, dtype=object)
        of_table = per_cent(runs).assign(row=rows)
        judged[source] = statistics.compare(of_table, [(above, below) for _, _, above, below in pairs])
    return claims, judged


def _name(spec: Spec) -> str:
    return f"{preset(spec.method).title} {MODEL_ROLES[spec.model]}"


def _of_source(found: Results, source: str) -> pd.DataFrame:
    return found.records[found.records["source"] == source]


def _side_by_side(runs: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The scores of each group of runs as a column, by row."""
    columns = {name: scores.cells(group) for name, group in runs.items()}
    rows = list(dict.fromkeys(row for cells in columns.values() for row in cells))
    by_row = {name: [cells.get(row) for row in rows] for name, cells in columns.items()}
    return pd.DataFrame(by_row, index=pd.Index(rows, dtype=object))


def _shots(runs: pd.DataFrame, evaluation: str) -> pd.DataFrame:
    """The metrics `<set>/<k>shot` of an evaluation, with both parts as columns."""
    mine = runs[runs["eval"] == evaluation]
    parts = mine["metric"].str.extract(r"^(?P<set>.*)/(?P<shots>\d+)shot$")
    return mine.assign(**parts).dropna(subset="shots").astype({"shots": int})


if __name__ == "__main__":
    run(render)
