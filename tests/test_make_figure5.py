"""Figures 5 and 11-15: on how many sets CAN is first, and what is drawn."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from invented import add, cells, published, setting

from analysis import make_figure5
from can.commands.evaluations.few_shot import OFFLINE_SETS
from can.commands.setting import Setting
from can.commands.spec import Spec
from experiments.figure5_few_shot import RUNS, UNTRAINED

SHOTS = (1, 5, 10, 25)


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def measure(where: Setting, spec: Spec, *top1: float, evaluation: str = "few_shot", seeds: int = 3) -> None:
    """Seeds that hardly differ, on the nine sets, with the same accuracy in per cent at every number of shots."""
    for seed in range(seeds):
        values = [(value + 0.1 * seed) / 100 for value in top1 * (9 if len(top1) == 1 else 1)]
        metrics = {
            f"{pair.name}/{shots}shot": value
            for pair, value in zip(OFFLINE_SETS, values, strict=True)
            for shots in SHOTS
        }
        add(where, spec, seed, evaluation, metrics=metrics)


def test_the_sets_on_which_can_is_first_are_counted_by_figure_shots_and_protocol(here: Setting) -> None:
    mae, simclr, can = RUNS["5"]
    measure(published(here), can, *[80.0] * 6, 50.1, 30, 30)
    measure(published(here), simclr, *[60.0] * 6, 50, 50, 20)  # a tenth of a point is undecided
    measure(published(here), mae, *[40.0] * 6, 40, 40, 60)
    measure(here, can, 50, evaluation="few_shot_sgd")
    text = make_figure5.render(here)
    where = "Figures 5 and 11, 10-shot, ridge regression"
    assert cells(text, "CAN above MAE and SimCLR", where)[2:] == ["–", "7 of 9", "6 for, 2 against"]
    assert "SGD |" not in text.split("## Figures 5 and 11")[0]  # of that protocol there is no rival
    by_sgd = text.split(", by SGD")[1]
    assert cells(by_sgd, "25", "CAN", "ViT-L", "JFT-300M", "5000", "yours")[6:] == ["50.1 ± 0.1 (3)"] * 9


def test_the_counts_that_the_paper_prints_stand_beside_ours(here: Setting) -> None:
    for spec, top1 in zip(RUNS["15"], (80, 40, 60), strict=True):  # MAE is above CAN
        measure(here, spec, top1)
    measure(here, RUNS["12"][-1], 50)  # less than after IN-1K
    text = make_figure5.render(here)
    ten, many = (f"Figure 15, {shots}-shot, ridge regression" for shots in (10, 25))
    assert cells(text, "CAN above MAE and SimCLR", ten)[2:] == ["8 of 9", "0 of 9", "0 for, 9 against"]
    assert cells(text, "CAN above MAE", many)[2:] == ["5 of 9", "0 of 9", "0 for, 9 against"]
    both = "Figures 12 and 15, 25-shot, ridge regression"
    assert cells(text, "CAN after JFT-300M above CAN after IN-1K", both)[2:] == ["6 of 9", "0 of 9", "0 for, 9 against"]


def test_each_figure_shows_its_own_shots_and_the_untrained_encoder(here: Setting) -> None:
    for spec in (*RUNS["5"], *RUNS["14"], UNTRAINED["vit_l"]):
        measure(here, spec, 30)
    make_figure5.render(here)
    folder = here.results_dir / "laptop"
    made = {path.name for path in folder.iterdir() if path.is_file()}
    of_figures = {f"figure{number}.{kind}" for number in (5, 11, 14) for kind in ("png", "pdf", "csv")}
    assert made == of_figures | {"figure5.md", "figure5.tex"}
    shots = {}
    for number in (5, 11, 14):
        lines = list(csv.DictReader((folder / f"figure{number}.csv").open(encoding="utf-8")))
        shots[number] = {line["shots"] for line in lines}
    assert shots == {5: {"10", "25"}, 11: {"1", "5"}, 14: {"1", "5", "10", "25"}}
    lines = list(csv.DictReader((folder / "figure5.csv").open(encoding="utf-8")))
    assert len(lines) == 4 * 9 * 2 * 3  # rows with the untrained one, sets, shots, seeds


def test_a_set_whose_classes_have_fewer_images_than_shots_is_marked(here: Setting) -> None:
    measure(here, RUNS["5"][-1], 30)
    assert "fewer images" not in make_figure5.render(here)
    for path in here.results_dir.rglob("eval-few_shot.json"):
        values = json.loads(path.read_text())
        for record in values["records"]:
            if record["metric"] == "emoji/25shot":
                record["short_classes"] = 3
        path.write_text(json.dumps(values))
    text = make_figure5.render(here)
    assert text.count("- `emoji/25shot`: of 3 classes there are fewer images, and all are taken.") == 1


def test_without_results_there_are_no_pictures_but_the_commands(here: Setting) -> None:
    text = make_figure5.render(here)
    assert f"`bash experiments/figure5_few_shot.sh --scale=laptop --results_dir={here.results_dir}`" in text
    assert {path.suffix for path in (here.results_dir / "laptop").iterdir()} == {".md", ".tex"}
