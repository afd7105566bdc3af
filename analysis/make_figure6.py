"""Figures 6, 9 and 10, robustness to shifts of the test images: `python analysis/make_figure6.py [--scale=...]`.

Draws `figure6`, `figure9` and `figure10` (PNG, PDF, and the numbers as CSV) and writes `figure6.md` and `figure6.tex`
with all of their numbers, and on how many of the sets CAN is above the others, into `results/<scale>/`. Trains nothing.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import pandas as pd

from analysis.lib import by_test_set, figures, head, table_page, test_set_panel
from analysis.lib.by_test_set import BySet, Contest
from analysis.lib.command import run
from analysis.lib.page import Page
from analysis.lib.results import Results, per_cent, read
from analysis.lib.tables import to_markdown
from experiments.figure6_robustness import NEEDS, RUNS, SUPERVISED
from experiments.harness.evaluations.robustness import rules_of
from experiments.harness.scales import DATA_ROLES, MODEL_ROLES
from experiments.harness.setting import Setting
from experiments.harness.spec import Spec

COMMAND = "figure6_robustness"  # of experiments/
EVAL = "robustness"
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
    tables = {panel: by_test_set.score_table(by_source, rows) for panel, rows in PANELS.items()}
    page = Page(head.title("Figures 6, 9 and 10: robustness of classifiers to shifts of the test images", setting))
    what = "Top-1 accuracy in %, mean ± standard deviation (seeds)."
    page.add(f"{what} {head.whose(found, setting, COMMAND)}")
    page.add(
        "Pre-trained encoders are finetuned on clean images. `supervised` and `PyramidAT` learnt with labels from the "
        "start, and their own classifiers are measured as they are."
    )
    page.bullets(head.describe(found, setting))
    page.bullets(sets_in_words(by_source, rules), "The test sets:")
    table_page.add_gaps(page, found, NEEDS, setting, COMMAND)
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
    printed: dict[tuple[Spec, ...], str] = {
        SUPERVISED[-1:]: by_test_set.printed_count("robustness_wins_over_pyramidat")
    }
    found: dict[str, list[Contest]] = {}
    for number, panels in FIGURES.items():
        found[number] = []
        for panel in panels:
            *rivals, can = PANELS[panel]
            groups = [*((rival,) for rival in rivals), tuple(rivals)]
            found[number] += by_test_set.against(panel, can, groups, printed)
    return found


def judge(page: Page, by_source: dict[str, BySet]) -> None:
    """Adds the differences and on how many sets CAN is above the others."""
    page.add("## On how many sets is CAN above the others?")
    page.add(by_test_set.RULE)
    counts, differences = [], []
    for claims in contests().values():
        verdicts = {source: by_test_set.judged(claims, sets) for source, sets in by_source.items()}
        counts.append(by_test_set.count_table(claims, verdicts))
        differences.append(by_test_set.difference_table(claims, verdicts))
    for tables in (counts, differences):
        together = pd.concat(tables, ignore_index=True)
        page.add(to_markdown(together) if len(together) else "")


def draw(setting: Setting, source: str, sets: BySet) -> None:
    """The three figures of one source, as far as it has their rows."""
    measured = set(pd.concat(sets.values())["row"])
    for number, panels in FIGURES.items():
        if not measured & {row for panel in panels for row in PANELS[panel]}:
            continue
        figure, axes = figures.subplots(1, len(panels), width=6.2)
        drawn = []
        for one, panel in zip(axes, panels, strict=True):
            drawn.append(test_set_panel.draw(one, PANELS[panel], sets).assign(panel=panel))
            one.set_title(title(PANELS[panel]))
            one.legend()
            figures.corner(one, setting, source)
        figures.save(figure, setting, f"figure{number}", pd.concat(drawn)[["panel", *test_set_panel.COLUMNS]])


def title(rows: tuple[Spec, ...]) -> str:
    """What the rows of a panel are, as the paper says it."""
    can = rows[-1]
    pretrained = f"{MODEL_ROLES[can.model]}, {DATA_ROLES[can.data]}, {can.epochs:g} epochs"
    return f"CAN ({pretrained}) and training with labels" if SUPERVISED[0] in rows else pretrained


if __name__ == "__main__":
    run(render)
