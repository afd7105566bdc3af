"""Finetuning, few-shot and robustness of the encoders of Table 2."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from invented import add, cells, contents, published, setting

from analysis import make_transfer
from experiments.harness.setting import Setting


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def section(text: str, title: str) -> str:
    """What stands under a heading that starts with this."""
    (found,) = [part for part in text.split("\n## ") if part.startswith(title)]
    return found


def test_finetuning_stands_beside_the_probe_for_each_source(here: Setting) -> None:
    for seed, top1 in enumerate((88, 90)):
        add(published(here), "can/vit_l/5000", seed, top1=80)
        add(published(here), "can/vit_l/5000", seed, "finetune", top1=top1, top1_best=95)
    add(here, "can/vit_l/5000", 0, "finetune", top1=70)
    add(here, "random/vit_l/0", 0, "finetune_scratch", top1=60)
    table = section(make_transfer.render(here), "Linear probe and finetuning")
    assert cells(table, "CAN", "ViT-L", "5000", "published")[4:] == ["80.0 ± 0.0 (2)", "89.0 ± 1.4 (2)"]
    assert cells(table, "CAN", "ViT-L", "5000", "yours")[4:] == ["–", "70.0 (1)"]
    assert cells(table, "untrained", "ViT-L")[3:] == ["yours", "–", "60.0 (1)"]
    assert cells(table, "MAE", "ViT-L")[3:] == ["–", "–", "–"]  # nobody measured it


def test_finetuning_is_held_against_the_probe_and_against_scratch_by_the_rule_of_all_tables(here: Setting) -> None:
    for seed in range(3):
        add(published(here), "can/vit_l/5000", seed, top1=80 + 0.1 * seed)
        add(published(here), "can/vit_l/5000", seed, "finetune", top1=89 - 0.1 * seed)
        add(published(here), "random/vit_l/0", seed, "finetune_scratch", top1=95 + 0.1 * seed)
    text = make_transfer.render(here)
    assert cells(text, "CAN ViT-L", "the linear probe")[3] == "holds"
    assert cells(text, "CAN ViT-L", "training from scratch")[3] == "does not hold"
    assert "Of the 10 gains of finetuning, 1 holds, 1 does not hold, 0 are undecided and 8 are not measured." in text
    assert len(re.findall(r"^\| \S+ ViT-.* \| (the linear|training)", text, re.M)) == 2  # not those of nobody


def test_one_seed_decides_no_gain(here: Setting) -> None:
    add(here, "can/vit_b/800", 0, top1=10)
    add(here, "can/vit_b/800", 0, "finetune", top1=90)
    text = make_transfer.render(here)
    assert cells(text, "CAN ViT-B", "the linear probe")[2:] == ["+80.0 (one seed)", "undecided"]


def test_few_shot_is_the_mean_over_the_sets_of_each_seed_and_shown_for_each_set(here: Setting) -> None:
    shots = {"digits/1shot": 0.2, "digits/1shot_sd": 0.01, "digits/10shot": 0.6, "stamps/1shot": 0.4}
    add(here, "mae/vit_l/5000", 0, "few_shot", metrics=shots | {"stamps/10shot": 0.5})
    add(here, "mae/vit_l/5000", 1, "few_shot", metrics=shots | {"stamps/10shot": 0.7, "digits/1shot": 0.3})
    text = make_transfer.render(here)
    mean, each = (
        section(text, f"Few-shot by ridge regression{end}") for end in (", top-1 in %, mean", " with 10 images a class")
    )
    assert cells(mean, "Method")[4:] == ["1-shot", "10-shot"]
    assert cells(mean, "MAE")[3:] == ["yours", "32.5 ± 3.5 (2)", "60.0 ± 7.1 (2)"]  # 30, 35; 55, 65
    assert cells(each, "Method")[4:] == ["digits", "stamps"]
    assert cells(each, "MAE")[4:] == ["60.0 ± 0.0 (2)", "60.0 ± 14.1 (2)"]


def test_robustness_has_a_column_a_set_and_no_row_of_untrained_encoders(here: Setting) -> None:
    damage = {"damage/blur/top1": 0.3, "damage/fog/top1": 0.5, "damage/top1": 0.4, "damage/mce": 0.8}
    add(here, "can/vit_b/800", 0, "robustness", metrics=damage | {"clean/top1": 0.9, "sketch/top1": 0.3})
    table = section(make_transfer.render(here), "Robustness")
    assert cells(table, "Method")[4:] == ["damage", "clean", "sketch"]
    assert cells(table, "CAN", "ViT-B")[3:] == ["yours", "40.0 (1)", "90.0 (1)", "30.0 (1)"]
    assert "untrained" not in table


def test_without_evaluations_there_are_no_tables_but_the_commands(here: Setting) -> None:
    text = make_transfer.render(here)
    assert "\n## " not in text and "|" not in text
    command = f"bash experiments/transfer.sh --scale=laptop --results_dir={here.results_dir}"
    assert f"Not measured. `{command}` makes all of it" in text
    assert f"- can/vit_l/5000: `{command} --rows=can/vit_l/5000`" in text


def test_a_row_of_which_a_part_is_measured_names_the_rest(here: Setting) -> None:
    for evaluation in ("linear_probe", "few_shot", "finetune"):
        add(here, "can/vit_l/5000", 0, evaluation, top1=80)
    text = make_transfer.render(here)
    assert "- can/vit_l/5000 (few_shot_sgd, robustness): `bash experiments/transfer.sh" in text


def test_the_files_have_every_table_and_every_number_and_are_remade_to_the_byte(here: Setting) -> None:
    add(published(here), "can/vit_b/800", 0, "robustness", metrics={"clean/top1": 2 / 3})
    add(here, "can/vit_b/800", 0, "few_shot", metrics={"digits/1shot": 0.5})
    text = make_transfer.render(here)
    folder = here.results_dir / "laptop"
    assert (folder / "transfer.md").read_text(encoding="utf-8") == text
    latex = (folder / "transfer.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{table}") == 2 and r"\label{tab:transfer-2}" in latex
    assert latex.count(r"\caption{Transfer of the encoders of Table 2, scale laptop. Few-shot") == 1
    lines = list(csv.DictReader((folder / "transfer.csv").open(encoding="utf-8")))
    assert [(line["source"], line["row"], line["metric"], line["value"]) for line in lines] == [
        ("yours", "can/vit_b/800", "digits/1shot", "0.5"),
        ("published", "can/vit_b/800", "clean/top1", "0.666667"),
    ]
    before = contents(here.results_dir)
    assert make_transfer.render(here) == text and contents(here.results_dir) == before
