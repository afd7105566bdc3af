"""Figure 4: finetuning by the length of pre-training, and what the page says of it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from invented import add, cells, contents, published, setting

from analysis import make_figure4
from can.commands.setting import Setting


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def measure(where: Setting, row: str, top1: float, evaluation: str = "finetune") -> None:
    """Three seeds that hardly differ."""
    for seed in range(3):
        add(where, row, seed, evaluation, top1=top1 + 0.1 * seed)


def test_the_ends_of_the_papers_curves_stand_beside_ours_with_their_orderings(here: Setting) -> None:
    for row, top1 in (("can/vit_l/5000", 80), ("simclr/vit_l/5000", 90), ("mae/vit_l/5000", 70)):
        measure(published(here), row, top1)
    text = make_figure4.render(here)
    assert cells(text, "CAN", "ViT-L", "5000")[4:] == ["86.1", "80.1 ± 0.1 (3)", "–"]
    assert cells(text, "CAN", "ViT-L", "800")[4:] == ["–", "–", "–"]  # neither printed nor measured
    title = "{} above {} at equal size and epochs"
    assert cells(text, title.format("CAN", "SimCLR"), "ViT-L 5000")[2::2] == ["+0.6", "leans against"]
    assert cells(text, title.format("CAN", "MAE"), "ViT-L 5000")[2::2] == ["+0.7", "leans to the paper"]
    assert cells(text, title.format("SimCLR", "MAE"), "ViT-L 5000")[2::2] == ["+0.1", "leans to the paper"]


def test_longer_pre_training_and_pre_training_at_all_are_claims_of_their_own(here: Setting) -> None:
    for row, top1 in (("can/vit_l/800", 60), ("can/vit_l/1600", 70), ("can/vit_l/3000", 65)):
        measure(here, row, top1)
    measure(here, "random/vit_l/0", 63, "finetune_scratch")
    text = make_figure4.render(here)
    longer = "Longer pre-training is better"
    assert cells(text, longer, "CAN 800 → 1600")[4] == "leans to the paper"
    assert cells(text, longer, "CAN 1600 → 3000")[4] == "leans against"
    assert "CAN 3000 → 5000" not in text  # nobody measured it
    above = "Finetuning after pre-training above training from scratch"
    assert cells(text, above, "CAN 1600")[4] == "leans to the paper"
    assert cells(text, above, "CAN 800")[4] == "leans against"
    assert cells(text, "from scratch", "ViT-L", "0")[5:] == ["63.1 ± 0.1 (3)", "–"]


def test_finetuning_is_held_against_the_linear_probe_of_the_same_encoder(here: Setting) -> None:
    for row, tuned, probed in (("mae/vit_l/1600", 80, 60), ("mae/vit_l/5000", 60, 80)):
        measure(here, row, tuned)
        measure(here, row, probed, "linear_probe")
    gains = make_figure4.render(here).split("## Does finetuning gain over the linear probe?")[1]
    assert cells(gains, "MAE 1600")[2] == "leans to the paper"
    assert cells(gains, "MAE 5000")[2] == "leans against"
    assert "CAN" not in gains


def test_the_picture_has_the_papers_ends_and_is_remade_to_the_byte(here: Setting) -> None:
    measure(here, "can/vit_l/800", 60)
    measure(here, "random/vit_l/0", 50, "finetune_scratch")
    make_figure4.render(here)
    folder = here.results_dir / "laptop"
    before = contents(folder)
    assert {f"figure4.{kind}" for kind in ("png", "pdf", "csv", "md", "tex")} <= {path.name for path in before}
    lines = list(csv.DictReader((folder / "figure4.csv").open(encoding="utf-8")))
    assert [line["value"] for line in lines if line["source"] == "paper"] == ["86.1", "85.5", "85.4"]
    assert len([line for line in lines if line["source"] == "yours"]) == 6
    make_figure4.render(here)
    assert contents(folder) == before


def test_without_finetuning_there_is_no_picture_but_the_commands(here: Setting) -> None:
    measure(here, "can/vit_l/800", 60, "linear_probe")
    text = make_figure4.render(here)
    command = f"bash experiments/figure4_finetuning.sh --scale=laptop --results_dir={here.results_dir}"
    assert f"- can/vit_l/800 (finetune): `{command} --rows=can/vit_l/800`" in text
    assert not (here.results_dir / "laptop" / "figure4.png").exists()
