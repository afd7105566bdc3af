"""Figures 6, 9 and 10, robustness to shifts of the test images: `python analysis/make_figure6.py [--scale=...]`.

Draws `figure6`, `figure9` and `figure10` (PNG, PDF, and the numbers as CSV) and writes `figure6.md` and `figure6.tex`
with all of their numbers, and on how many of the sets CAN is above the others, into `results/<scale>/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import pandas as pd

from analysis.lib import captions, drawing, panels, paper_table, test_sets
from analysis.lib.command import run
from analysis.lib.documents import Page, to_markdown
from analysis.lib.results import Results, per_cent, read
from analysis.lib.test_sets import BySet, Contest
from can.commands.evaluations.robustness import rules_of
from can.commands.scales import DATA_ROLES, MODEL_ROLES
from can.commands.setting import Setting
from can.commands.spec import Spec
from experiments.figure6_robustness import NEEDS, RUNS, SUPERVISED

COMMAND = "figure6_robustness"  # of experiments/
EVAL = "robustness"
UNTUNED = "training with labels is not tuned at this scale"
PANELS = {**RUNS, "10 bottom": (*SUPERVISED, RUNS["10 top"][-1])}  # by figure and place: rows, CAN's the last
FIGURES = {  # by number: its panels
    number: [panel for panel in PANELS if panel.split()[0] == number]
    for number in dict.fromkeys(panel.split()[0] for panel in PANELS)
}


def render(setting: Setting, *, brief: bool = False) -> str:
    """Draws the figures, writes the page and returns it, or of it the tables alone if `brief`.

    Raises DataError if a file of the results is damaged.
    """
    found = read(NEEDS, setting)
    rules = rules_of(setting)
    by_source = {source: by_set(found, source, list(rules)) for source in found.sources}
    by_source = {source: sets for source, sets in by_source.items() if sets}
    tables = {panel: test_sets.score_table(by_source, rows) for panel, rows in PANELS.items()}
    page = Page(captions.title("Figures 6, 9 and 10: robustness of classifiers to shifts of the test images", setting))
    what = "Top-1 accuracy in %, mean ± standard deviation (seeds)."
    page.add(f"{what} {captions.whose(found, setting, COMMAND)}")
    page.add(
        "Pre-trained encoders are finetuned on clean images. `supervised` and `PyramidAT` learnt with labels from the "
        "start, and their own classifiers are measured as they are."
    )
    page.bullets(captions.describe(found, setting))
    page.bullets(sets_in_words(by_source, rules), "The test sets:")
    paper_table.add_gaps(page, found, NEEDS, setting, COMMAND)
    for panel, rows in PANELS.items():
        page.add(f"## Figure {panel}: {title(rows)}")
        page.table(tables[panel], caption=f"Figure {panel}. {title(rows)}. {what}")
    if by_source:
        judge(page, by_source)
        draw(setting, *list(by_source.items())[-1])
    page.write(setting, "figure6")
    if brief:
        return "\n\n".join(f"Figure {panel}\n\n{to_markdown(table)}" for panel, table in tables.items())
    return page.text


def by_set(found: Results, source: str, names: list[str]) -> BySet:
    """The runs of one source on each set; of damaged images, the means over the kinds of damage."""
    runs = {name: per_cent(found.of(source, EVAL, f"{name}/top1")) for name in names}
    return {name: of_set for name, of_set in runs.items() if len(of_set)}


def sets_in_words(by_source: dict[str, BySet], rules: dict[str, str]) -> list[str]:
    """What each measured set shows, or how it is counted, and its images."""
    images = {name: of_set["n"].iloc[0] for sets in by_source.values() for name, of_set in sets.items()}
    return [f"`{name}`: {rule} ({images[name]:,} images)." for name, rule in rules.items() if name in images]


def contests() -> dict[str, list[Contest]]:
    """By figure, what CAN is held against; each panel by itself."""
    printed: dict[tuple[Spec, ...], str] = {SUPERVISED[-1:]: test_sets.printed_count("robustness_wins_over_pyramidat")}
    found: dict[str, list[Contest]] = {}
    for number, places in FIGURES.items():
        found[number] = []
        for panel in places:
            *rivals, can = PANELS[panel]
            groups = [*((rival,) for rival in rivals), tuple(rivals)]
            found[number] += test_sets.against(panel, can, groups, printed)
    return found


def judge(page: Page, by_source: dict[str, BySet]) -> None:
    """Adds the differences and on how many sets CAN is above the others."""
    page.add("## On how many sets is CAN above the others?")
    page.add(test_sets.RULE)
    counts, differences = [], []
    for claims in contests().values():
        verdicts = {source: test_sets.judged(claims, sets) for source, sets in by_source.items()}
        counts.append(test_sets.count_table(claims, verdicts))
        differences.append(test_sets.difference_table(claims, verdicts))
    for introduction, tables in (("", counts), ("In points, what is decided in bold:", differences)):
        together = pd.concat(tables, ignore_index=True)
        if len(together):
            page.add(introduction)
            page.add(to_markdown(together))


def draw(setting: Setting, source: str, sets: BySet) -> None:
    """The three figures of one source, as far as it has their rows."""
    measured = set(pd.concat(sets.values())["row"])
    for number, places in FIGURES.items():
        if not measured & {row for panel in places for row in PANELS[panel]}:
            continue
        figure, axes = drawing.subplots(1, len(places), width=6.2, share=True)
        drawn = []
        for one, panel in zip(axes, places, strict=True):
            rows = PANELS[panel]
            drawn.append(panels.draw_test_sets(one, rows, sets).assign(panel=panel))
            # Training with labels takes the paper's recipe for 300 epochs, which a small scale cannot give it.
            unfair = SUPERVISED[0] in rows and setting.scale.name != "paper"
            played = captions.plays(setting, rows[-1])
            drawing.title(one, title(rows), f"no evidence for CAN: {UNTUNED}" if unfair else played)
        drawing.legend(figure)
        numbers = pd.concat(drawn)[["panel", *panels.OF_SETS]]
        caption = f"Figure {number}. Robustness of classifiers to shifts of the test images."
        note = panels.note(numbers)
        drawing.save(figure, setting, f"figure{number}", numbers, source=source, caption=caption, note=note)


def title(rows: tuple[Spec, ...]) -> str:
    """What the rows of a panel are, as the paper says it."""
    can = rows[-1]
    pretrained = f"{MODEL_ROLES[can.model]}, {DATA_ROLES[can.data]}, {can.epochs:g} epochs"
    return f"CAN ({pretrained}) and training with labels" if SUPERVISED[0] in rows else pretrained


if __name__ == "__main__":
    run(render)
