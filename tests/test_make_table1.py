"""Table 1: variants of the denoising beside the paper's values, and which of its orderings hold."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from invented import add, cells, published, setting

from analysis import make_table1
from can.commands.setting import Setting
from experiments.table1_denoising import VARIANTS


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def measure(here: Setting, **top1: float) -> None:
    """Three seeds of variants, by the position of their names."""
    for name, value in zip(VARIANTS, top1.values(), strict=True):
        for seed in range(3):
            add(here, VARIANTS[name], seed, top1=value + 0.1 * seed)


def test_each_variant_has_the_papers_value_and_both_sources(here: Setting) -> None:
    measure(published(here), none=40, noise=50, loss=45, full=60)
    add(here, VARIANTS["+noise, +loss"], 0, top1=41.25)
    text = make_table1.render(here)
    rows = [cells(text, name) for name in VARIANTS]
    assert [row[2] for row in rows] == ["67.9", "68.6", "68.4", "68.9"]
    assert [row[3] for row in rows] == ["40.1 ± 0.1 (3)", "50.1 ± 0.1 (3)", "45.1 ± 0.1 (3)", "60.1 ± 0.1 (3)"]
    assert [row[4] for row in rows] == ["–", "–", "41.2 (1)", "–"]


def test_all_six_orderings_are_judged_in_the_papers_direction(here: Setting) -> None:
    measure(published(here), none=55, noise=50, loss=52.5, full=60)
    text = make_table1.render(here)
    assert (
        "- Published: Of the 6 orderings of the paper, 3 lean to the paper, 3 lean against it, "
        "0 show no difference above 1 point, 0 are open and 0 are not measured. "
        "Of the 3 comparisons with no denoising, 1 leans to the paper, 2 lean against it,"
    ) in text
    assert cells(text, "“Full” above “None”")[1:3] == ["ViT-B 100", "+1.0"]
    # 1.96 · sqrt((.501 · .499 + .551 · .449) / 10,000), the seeds being an equal step everywhere
    assert cells(text, "“+noise” above “None”")[2:] == ["+0.7", "−5.0 [−6.4, −3.6]", "leans against"]
    assert cells(text, "“+noise” above “+noise, +loss”")[2::2] == ["+0.2", "leans against"]
    assert cells(text, "“Full” above “+noise, +loss”")[2::2] == ["+0.5", "leans to the paper"]


def test_what_is_missing_has_its_command(here: Setting) -> None:
    add(here, VARIANTS["None"], 0, top1=40)
    text = make_table1.render(here)
    assert "--rows=can/vit_b/100/denoise_loss=False`" in text and "--rows=can/vit_b/100/sigma_max=0`" not in text
    assert text.count("\n- can/vit_b/100") == 3


def test_the_full_method_is_the_run_of_every_ablation(here: Setting) -> None:
    assert add(here, VARIANTS["Full"], 0, top1=40).name == "can-vitb-in1k-e100-s0"


def test_the_files_have_a_line_a_variant(here: Setting) -> None:
    measure(here, none=40, noise=50, loss=45, full=60)
    make_table1.render(here, brief=True)
    folder = here.results_dir / "laptop"
    lines = list(csv.DictReader((folder / "table1.csv").open(encoding="utf-8")))
    assert [(line["variant"], line["paper"], line["yours_mean"]) for line in lines] == [
        ("None", "67.9", "40.1"),
        ("+noise", "68.6", "50.1"),
        ("+noise, +loss", "68.4", "45.1"),
        ("Full", "68.9", "60.1"),
    ]
    assert (folder / "table1.tex").read_text(encoding="utf-8").count(r"\\") == 5
