"""Figure 4, finetuning accuracy against the length of pre-training: `python analysis/make_figure4.py [--scale=...]`.

Draws `figure4` (PNG, PDF, and the numbers as CSV) and writes `figure4.md` and `figure4.tex` with the numbers and with
what they say about the paper's orderings and about the gain of finetuning, into `results/<scale>/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from itertools import pairwise
from typing import Any

import pandas as pd

from analysis.lib import captions, drawing, orderings, paper_table, significance
from analysis.lib.command import run
from analysis.lib.documents import Page, to_markdown
from analysis.lib.orderings import Ordering, Printed
from analysis.lib.paper import paper_values, printed_at
from analysis.lib.pools import pooled
from analysis.lib.results import Results, per_cent, read
from can.commands.methods import METHODS, preset
from can.commands.scales import DATA_ROLES, IN1K_IMAGES, MODEL_ROLES
from can.commands.setting import Setting
from can.commands.spec import Spec
from can.runs.provenance import without_folder
from experiments.figure4_finetuning import NEEDS, RUNS, UNTRAINED

COMMAND = "figure4_finetuning"  # of experiments/
TUNED = ("finetune", "finetune_scratch")
PRINTED = ("Sec. 4.1", "finetune_top1")  # where the paper prints the ends of its curves, and as what
DRAWN = ["source", "method", "epochs", "images", "seed", "value", "mean", "low", "high"]


def render(setting: Setting, *, brief: bool = False) -> str:
    """Draws the figure, writes the page and returns it, or of it the table alone if `brief`.

    Raises DataError if a file of the results is damaged.
    """
    found = read(NEEDS, setting)
    page = Page(captions.title("Figure 4: finetuning after pre-training of different lengths", setting))
    what = "Top-1 accuracy in %, mean ± standard deviation (seeds)."
    page.add(f"{what} {paper_table.tested_on(found, 'finetune', 'top1')}".strip())
    page.add(f"Paper: on IN-1K, as printed in {PRINTED[0]}. {captions.whose(found, setting, COMMAND)}")
    table = frame(found)
    paper_table.add_table(page, table, found, setting, what, rules_before=[1])
    paper_table.add_gaps(page, found, NEEDS, setting, COMMAND)
    judge(page, found, setting)
    if any(len(tuned(found, source)) for source in found.sources):
        draw(setting, found)
    page.write(setting, "figure4")
    return to_markdown(table) if brief else page.text


def tuned(found: Results, source: str) -> pd.DataFrame:
    """The runs of one source whose weights were all trained on labels: after pre-training, or from scratch."""
    records = found.records
    of_source = (records["source"] == source) & (records["metric"] == "top1")
    return per_cent(records[of_source & records["eval"].isin(TUNED)])


def frame(found: Results) -> pd.DataFrame:
    """The table, as text: training from scratch, then each method by its length, with its linear probe beside it."""
    rows = (UNTRAINED, *sorted(RUNS, key=lambda spec: (list(METHODS).index(spec.method), spec.epochs)))
    images = dict(zip(found.records["row"], found.records["images"], strict=True))
    paper = {row.spec: f"{row.value:.1f}" for row in printed()}
    columns: dict[str, list[Any]] = {
        "Method": ["from scratch" if spec == UNTRAINED else preset(spec.method).title for spec in rows],
        "Encoder": [MODEL_ROLES[spec.model] for spec in rows],
        "Epochs": [f"{spec.epochs:g}" for spec in rows],
        "Images seen": [f"{images[spec]:,}" if spec in images else None for spec in rows],
        "Paper": [paper.get(spec) for spec in rows],
    }
    for source in found.shown:
        finetuned = paper_table.cells(tuned(found, source))
        probed = paper_table.cells(per_cent(found.of(source, "linear_probe", "top1")))
        columns[source.capitalize()] = [finetuned.get(spec) for spec in rows]
        columns[f"{source.capitalize()}: linear probe"] = [probed.get(spec) for spec in rows]
    return pd.DataFrame(columns)


def printed() -> list[Printed]:
    """The runs that the paper prints a number of: the ends of its curves."""
    rows = {(preset(spec.method).title, spec.epochs): spec for spec in RUNS}
    return [
        Printed(rows[value.method, float(value.epochs)], value.number) for value in printed_at(paper_values(), *PRINTED)
    ]


def claims() -> list[Ordering]:
    """The paper's orderings at the ends, and what its text says: longer is better; and pre-training helps."""
    found = orderings.paper_claims(printed())
    for method in dict.fromkeys(spec.method for spec in RUNS):
        lengths = sorted((spec for spec in RUNS if spec.method == method), key=lambda spec: spec.epochs)
        for short, long in pairwise(lengths):
            where = f"{preset(method).title} {short.epochs:g} → {long.epochs:g}"
            found.append(Ordering("Longer pre-training is better", where, long, short, None))
    above = "Finetuning after pre-training above training from scratch"
    return [*found, *(Ordering(above, _name(spec), spec, UNTRAINED, None) for spec in RUNS)]


def judge(page: Page, found: Results, setting: Setting) -> None:
    """Adds what the runs say of the claims, and whether finetuning beats the linear probe of the same encoder."""
    sources = [source for source in found.sources if len(tuned(found, source))]
    runs = pooled(setting, sources, "finetune")
    paper_table.add_claims(
        page,
        claims(),
        {source: orderings.judged(claims(), runs[source], "finetune") for source in sources},
        lambda verdicts: significance.in_words(verdicts["verdict"], "claims"),
        question="Do the paper's orderings hold here, and does pre-training help?",
    )
    names = pd.DataFrame({"Finetuning above the linear probe": [_name(spec) for spec in RUNS]})
    table = orderings.with_verdicts(names, {source: gains(found, source) for source in found.sources})
    if len(table):
        page.add("## Does finetuning gain over the linear probe?")
        page.add(to_markdown(table))


def gains(found: Results, source: str) -> pd.DataFrame:
    """Whether finetuning beats the linear probe: a verdict on each run, of a table whose rows are runs' evaluations."""
    records = found.records
    runs = per_cent(records[(records["source"] == source) & (records["metric"] == "top1")])
    rows = pd.Series(list(zip(runs["row"], runs["eval"], strict=True)), index=runs.index, dtype=object)
    pairs = [((spec, "finetune"), (spec, "linear_probe")) for spec in RUNS]
    return significance.compare(runs.assign(row=rows), pairs)


def draw(setting: Setting, found: Results) -> None:
    """Measured here, the reader's own runs where there are some; and the ends of the paper's curves."""
    source = next(source for source in reversed(found.sources) if len(tuned(found, source)))
    runs = drawing.with_intervals(tuned(found, source))
    figure, (here, paper) = drawing.subplots(2, width=4.2)
    trained = runs[runs["images"] > 0]
    beside = drawing.dodges(trained["method"])
    for method, own in trained.groupby("method", sort=False):
        drawing.interval(here, own, "images", str(method), label=True, dodge=beside[str(method)])
    if len(scratch := runs[runs["row"] == UNTRAINED]):
        mean, low, high = scratch[["mean", "low", "high"]].iloc[0]
        here.axhline(mean, color=drawing.GREY, linestyle=drawing.LINES[UNTRAINED.method], label="from scratch")
        here.axhspan(low, high, color=drawing.GREY, alpha=0.15, linewidth=0)
    if len(trained):
        drawing.image_axis(here, trained["images"])
    roles = f"{MODEL_ROLES[RUNS[0].model]}, {DATA_ROLES[RUNS[0].data]}, finetuned on {DATA_ROLES['in1k']}"
    labelled = without_folder(setting.labelled)
    drawing.title(here, roles, f"{captions.plays(setting, RUNS[0], length=False)}, {labelled}")
    here.set_ylabel("finetuned, top-1 in %")
    ends = pd.DataFrame(
        [(row.spec.method, row.spec.epochs, row.spec.epochs * IN1K_IMAGES, row.value) for row in printed()],
        columns=["method", "epochs", "images", "value"],
    ).assign(source="paper")
    ends = ends.assign(mean=ends["value"], low=float("nan"), high=float("nan"))
    for method, own in ends.groupby("method", sort=False):
        drawing.interval(paper, own, "images", str(method), label=method not in set(trained["method"]))
    drawing.image_axis(paper, ends["images"])
    drawing.title(paper, roles, "the paper: the ends of its curves")
    drawing.legend(figure)
    drawing.save(
        figure,
        setting,
        "figure4",
        pd.concat([runs, ends], ignore_index=True)[DRAWN],
        source=source,
        caption="Figure 4. Accuracy by finetuning over the length of pre-training, here and in the paper.",
        note=f"{drawing.INTERVALS} The grey band is that of training from scratch.",
    )


def _name(spec: Spec) -> str:
    return f"{preset(spec.method).title} {spec.epochs:g}"


if __name__ == "__main__":
    run(render)
