"""Figures 5 and 11-15, few-shot classification: `python analysis/make_figure5.py [--scale=...]`.

Draws `figure5` and `figure11` to `figure15` (PNG, PDF, and the numbers as CSV) and writes `figure5.md` and
`figure5.tex` with all of their numbers, and on how many of the sets CAN is first, into `results/<scale>/`. Trains
nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import pandas as pd

from analysis.lib import captions, drawing, panels, paper_table, test_sets
from analysis.lib.command import run
from analysis.lib.documents import Page, to_markdown
from analysis.lib.markup import code
from analysis.lib.results import Results, per_cent, read
from analysis.lib.test_sets import BySet, Contest
from can.commands.evaluations.few_shot import sets_of
from can.commands.scales import DATA_ROLES, MODEL_ROLES
from can.commands.setting import Setting
from can.commands.spec import Spec
from experiments.figure5_few_shot import EVALS, NEEDS, RUNS, UNTRAINED

COMMAND = "figure5_few_shot"  # of experiments/
PROTOCOLS = dict(zip(EVALS, ("ridge regression", "SGD"), strict=True))
DRAWN = {"5": (10, 25), "11": (1, 5)}  # by number: of which shots; the others are of all
ROWS = {"5": RUNS["5"], "11": RUNS["5"], **RUNS}  # by number: which rows a figure has
Shots = dict[tuple[str, int], BySet]  # by evaluation and shots


def render(setting: Setting, *, brief: bool = False) -> str:
    """Draws the figures, writes the page and returns it, or of it the counts alone if `brief`.

    Raises DataError if a file of the results is damaged.
    """
    found = read(NEEDS, setting)
    by_source = {source: by_shots(found, source, setting) for source in found.sources}
    page = Page(captions.title("Figures 5 and 11-15: few-shot classification", setting))
    what = "Top-1 accuracy in %, mean ± standard deviation (seeds), each the mean of several choices of the images."
    page.add(f"{what} {captions.whose(found, setting, COMMAND)}")
    page.bullets(captions.describe(found, setting))
    page.bullets(short_classes(found))
    paper_table.add_gaps(page, found, NEEDS, setting, COMMAND)
    counts = count(by_source, setting)
    if len(counts):
        page.add("## On how many sets is CAN first?")
        page.add(f"{test_sets.RULE} The claims of a figure are those of one number of shots and one protocol.")
        page.table(counts, caption="On how many sets CAN is first, and how many of these are decided.")
    for number, rows in RUNS.items():
        for evaluation, protocol in PROTOCOLS.items():
            table = scores(by_source, evaluation, (*rows, UNTRAINED[rows[-1].model]), setting)
            heading = f"{_title(number)}: {what_of(rows)}, by {protocol}"
            page.add(f"## {heading}" if len(table) else "")
            if len(table):
                page.table(table, caption=f"{heading}. {what}")
    if found.sources:
        draw(setting, found.sources[-1], by_source[found.sources[-1]])
    page.write(setting, "figure5")
    return to_markdown(counts) if brief and len(counts) else page.text


def short_classes(found: Results) -> list[str]:
    """An item for each set and number of shots that some classes have too few images for."""
    records = found.records[found.records["short_classes"] > 0]
    items = dict.fromkeys((line.metric, int(line.short_classes)) for line in records.itertuples())
    return [
        f"{code(metric)}: of {classes} classes there are fewer images, and all are taken." for metric, classes in items
    ]


def by_shots(found: Results, source: str, setting: Setting) -> Shots:
    """The runs of one source, by evaluation and number of shots."""
    return {
        (evaluation, shots): {
            pair.name: of_set
            for pair in sets_of(setting)
            if len(of_set := _with_spread(found, source, evaluation, f"{pair.name}/{shots}shot"))
        }
        for evaluation in EVALS
        for shots in setting.scale.few_shot.shots
    }


def _with_spread(found: Results, source: str, evaluation: str, metric: str) -> pd.DataFrame:
    """The runs in per cent; `spread` is the deviation over the choices of images, NaN where there is one."""
    spread = per_cent(found.of(source, evaluation, f"{metric}_sd")).set_index("run")["value"]
    runs = per_cent(found.of(source, evaluation, metric))
    return runs.assign(spread=runs["run"].map(spread).astype(float))


def scores(by_source: dict[str, Shots], evaluation: str, rows: tuple[Spec, ...], setting: Setting) -> pd.DataFrame:
    """The rows under each other for each number of shots; empty if none of them is measured."""
    tables = []
    for shots in setting.scale.few_shot.shots:
        of_shots = {source: found[evaluation, shots] for source, found in by_source.items()}
        table = test_sets.score_table(of_shots, rows)
        table.insert(0, "Shots", str(shots))
        tables.append(table)
    together = pd.concat(tables, ignore_index=True)
    return together if "Whose" in together else together[:0]


def contests(number: str, shots: int, protocol: str) -> list[Contest]:
    """What CAN is held against in a figure at a number of shots, with the counts that App. A prints."""
    *rivals, can = RUNS[number]
    mae, _ = rivals
    where = f"{_title(number)}, {shots}-shot, {protocol}"
    everyone = tuple(rivals)
    printed: dict[tuple[Spec, ...], str]
    if (number, shots) == ("15", 10):
        printed = {everyone: test_sets.printed_count("few_shot_10_wins_over_mae_and_simclr")}
        return test_sets.against(where, can, [everyone], printed)
    if (number, shots) == ("15", 25):
        more = RUNS["12"][-1]
        jft = Contest(
            f"CAN after {DATA_ROLES[more.data]} above CAN after {DATA_ROLES[can.data]}",
            f"Figures 12 and 15, {shots}-shot, {protocol}",
            more,
            (can,),
            test_sets.printed_count("few_shot_25_wins_over_in1k_pretraining"),
        )
        printed = {(mae,): test_sets.printed_count("few_shot_25_wins_over_mae")}
        return [*test_sets.against(where, can, [everyone, (mae,)], printed), jft]
    return test_sets.against(where, can, [everyone])


def count(by_source: dict[str, Shots], setting: Setting) -> pd.DataFrame:
    """On how many sets CAN is first, by figure, protocol and number of shots."""
    tables = []
    for number in RUNS:
        for evaluation, protocol in PROTOCOLS.items():
            for shots in setting.scale.few_shot.shots:
                claims = contests(number, shots, protocol)
                of_shots = {source: found[evaluation, shots] for source, found in by_source.items()}
                verdicts = {source: test_sets.judged(claims, sets) for source, sets in of_shots.items() if sets}
                tables.append(test_sets.count_table(claims, verdicts))
    return pd.concat(tables, ignore_index=True)


def draw(setting: Setting, source: str, found: Shots) -> None:
    """Every figure of which the source has rows: protocols side by side, shots under each other."""
    for number, rows in ROWS.items():
        of_figure = [shots for shots in setting.scale.few_shot.shots if shots in DRAWN.get(number, (shots,))]
        measured = {row for sets in found.values() for of_set in sets.values() for row in of_set["row"]}
        if not of_figure or not measured & set(rows):
            continue
        figure, axes = drawing.subplots(len(PROTOCOLS), len(of_figure), width=5.2, height=2.4, share=True)
        drawn = []
        for place, (shots, evaluation) in enumerate((k, name) for k in of_figure for name in PROTOCOLS):
            drawing.title(axes[place], f"{shots}-shot, {PROTOCOLS[evaluation]}")
            if sets := found[evaluation, shots]:
                numbers = panels.draw_test_sets(axes[place], rows, sets, UNTRAINED[rows[-1].model])
                drawn.append(numbers.assign(shots=shots, protocol=PROTOCOLS[evaluation]))
        drawing.legend(figure)
        numbers = pd.concat(drawn)[["protocol", "shots", *panels.OF_SETS]]
        roles = f"{what_of(rows)}: {captions.plays(setting, rows[-1])}"
        drawing.save(
            figure,
            setting,
            f"figure{number}",
            numbers,
            source=source,
            caption=f"Figure {number}. Few-shot classification by two protocols.",
            note=f"{roles}. {panels.note(numbers, setting.scale.few_shot.choices)}",
        )


def what_of(rows: tuple[Spec, ...]) -> str:
    """What the rows of a figure are, as the paper says it."""
    can = rows[-1]
    return f"{MODEL_ROLES[can.model]}, {DATA_ROLES[can.data]}, {can.epochs:g} epochs"


def _title(number: str) -> str:
    return "Figures 5 and 11" if number == "5" else f"Figure {number}"


if __name__ == "__main__":
    run(render)
