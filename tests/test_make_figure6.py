"""Figures 6, 9 and 10: which sets CAN is above the others on, and what is drawn."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from invented import add, cells, contents, published, setting

from analysis import make_figure6
from can.commands.setting import Setting
from can.commands.spec import Spec
from experiments.figure6_robustness import RUNS, SUPERVISED

SETS = ("cifar10", "cifar10_v2", "cifar10_corruptions", "cifar10_sketch", "cifar10_rendition", "cifar10_pose")
SETS = (*SETS, "cifar10_adversarial")
MAE, SIMCLR, CAN = RUNS["6 left"]


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def measure(where: Setting, spec: Spec, *top1: float, seeds: int = 3) -> None:
    """Three seeds on the seven sets, in per cent, which hardly differ."""
    for seed in range(seeds):
        metrics = {
            f"{name}/top1": (value + 0.1 * seed) / 100
            for name, value in zip(SETS, top1 * (7 if len(top1) == 1 else 1), strict=True)
        }
        add(where, spec, seed, "robustness", metrics=metrics | {"cifar10_corruptions/fog/top1": 0.5})


def test_the_sets_on_which_can_is_above_are_counted_with_those_that_are_decided(here: Setting) -> None:
    measure(published(here), CAN, 80, 80, 80, 80, 50.1, 50, 30)
    measure(published(here), SIMCLR, 60, 60, 60, 60, 50, 50.1, 50)  # a tenth of a point is undecided
    measure(published(here), MAE, 40, 40, 90, 40, 40, 40, 60)
    text = make_figure6.render(here)
    assert cells(text, "CAN above SimCLR", "6 left")[2:] == ["–", "5 of 7", "4 for, 1 against"]
    assert cells(text, "CAN above MAE", "6 left")[2:] == ["–", "5 of 7", "5 for, 2 against"]
    assert cells(text, "CAN above MAE and SimCLR", "6 left")[2:] == ["–", "4 of 7", "3 for, 2 against"]
    differences = cells(text, "CAN − SimCLR", "6 left", "published")[3:]
    assert differences == ["**+20.0**"] * 4 + ["+0.1", "−0.1", "**−20.0**"]
    assert "CAN above SimCLR | 9 left" not in text  # nobody measured it


def test_the_count_of_the_paper_stands_beside_that_of_figure_10(here: Setting) -> None:
    supervised, pyramid = SUPERVISED
    can = RUNS["10 top"][-1]
    for spec, top1 in ((can, 80), (supervised, 60), (pyramid, 70)):
        measure(here, spec, top1)
    text = make_figure6.render(here)
    assert cells(text, "CAN above PyramidAT", "10 bottom")[2:] == ["6 of 7", "7 of 7", "7 for, 0 against"]
    assert cells(text, "CAN above supervised", "10 bottom")[2:] == ["–", "7 of 7", "7 for, 0 against"]
    assert cells(text, "PyramidAT", "ViT-B", "IN-1K", "300", "yours")[5:] == ["70.1 ± 0.1 (3)"] * 7


def test_one_seed_decides_no_set(here: Setting) -> None:
    for spec, top1 in ((CAN, 90), (SIMCLR, 10)):
        measure(here, spec, top1, seeds=1)
    text = make_figure6.render(here)
    assert cells(text, "CAN above SimCLR", "6 left")[3:] == ["7 of 7", "0 for, 0 against"]


def test_all_claims_of_a_figure_are_one_family(here: Setting) -> None:
    """A gap that is decided among the seven claims of one rival is not, where others make them fourteen and more."""
    for spec, top1 in ((CAN, 50.0), (SIMCLR, 48.1)):
        measure(here, spec, top1)
    assert cells(make_figure6.render(here), "CAN above SimCLR", "6 left")[3:] == ["7 of 7", "0 for, 0 against"]
    for spec, top1 in ((CAN, 50.0), (SIMCLR, 47.5)):
        measure(here, spec, top1)
    assert cells(make_figure6.render(here), "CAN above SimCLR", "6 left")[3:] == ["7 of 7", "7 for, 0 against"]


def test_the_pictures_are_of_the_readers_runs_with_their_numbers_beside_them(here: Setting) -> None:
    measure(published(here), CAN, 20)
    for spec in (*RUNS["6 left"], *RUNS["10 top"][-1:], *SUPERVISED):
        measure(here, spec, 80)
    make_figure6.render(here)
    folder = here.results_dir / "laptop"
    made = {path.name for path in folder.iterdir() if path.is_file()}
    of_figures = {f"figure{number}.{kind}" for number in (6, 10) for kind in ("png", "pdf", "csv")}
    assert made == of_figures | {"figure6.md", "figure6.tex"}  # nothing of Figure 9 is measured
    lines = list(csv.DictReader((folder / "figure6.csv").open(encoding="utf-8")))
    assert len(lines) == 3 * 7 * 3  # rows, sets, seeds
    assert {line["panel"] for line in lines} == {"6 left"} and {line["mean"] for line in lines} == {"80.1"}
    assert float(lines[0]["low"]) < 80.1 < float(lines[0]["high"])
    before = contents(folder)
    make_figure6.render(here)
    assert contents(folder) == before


def test_without_results_there_are_no_pictures_but_the_commands(here: Setting) -> None:
    text = make_figure6.render(here)
    assert f"`bash experiments/figure6_robustness.sh --scale=laptop --results_dir={here.results_dir}`" in text
    assert {path.suffix for path in (here.results_dir / "laptop").iterdir()} == {".md", ".tex"}
