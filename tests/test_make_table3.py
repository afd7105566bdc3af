"""Table 3: finetuning and linear probe after pre-training on IN-1K, beside the paper's rows and its quotations."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from invented import add, cells, published, setting, spec

from analysis import make_table3
from can.commands.setting import Setting

FINETUNE, PROBE = "finetune", "linear_probe"


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def measure(here: Setting, row: str, evaluation: str, top1: float, seeds: int = 3) -> None:
    data = "jft" if row.startswith("random") else "in1k"
    for seed in range(seeds):
        add(here, spec(row, data), seed, evaluation, top1=top1 + 0.1 * seed)


def test_it_has_the_papers_rows_in_its_order_and_simclr_on_vit_b() -> None:
    rows = make_table3.table_rows()
    names = [f"{row.method} {row.encoder} {row.epochs}" for row in rows if "et al." not in row.method]
    assert names == [
        "from scratch ViT-B 100",
        "SimCLR ViT-B 800",
        "CAN ViT-B 800",
        "CAN ViT-B 1600",
        "CAN + teacher ViT-B 800",
        "CAN + local crops ViT-B 800",
        "SimCLR ViT-L 800",
        "MAE ViT-L 800",
        "CAN ViT-L 800",
    ]
    assert len(rows) == 19 and rows[1].method == "MoCo-v3, Chen et al. (2021b)"


def test_quoted_rows_are_run_on_vit_b_alone_where_the_paper_has_no_row_of_its_own_for_them(here: Setting) -> None:
    quoted = [row for row in make_table3.table_rows() if "et al." in row.method]
    assert {row.encoder for row in quoted if row.spec} == {"ViT-B"} and {row.encoder for row in quoted} > {"ViT-B"}
    assert {row.spec for row in quoted if row.spec} - set(make_table3.TRAINED) == set(make_table3.CITED)
    measure(here, "mae/vit_b/800", FINETUNE, 70, seeds=1)
    measure(here, "mae/vit_l/800", FINETUNE, 71, seeds=1)
    text = make_table3.render(here)
    assert cells(text, "MAE, He et al. (2022)", "ViT-B", "800")[3:5] == ["83.1", "70.0 (1)"]
    assert cells(text, "MAE, He et al. (2022)", "ViT-L", "800")[3:5] == ["84.9", "–"]
    assert cells(text, "MAE", "ViT-L", "800")[3:5] == ["83.7", "71.0 (1)"]


def test_both_evaluations_stand_beside_the_papers_for_each_source(here: Setting) -> None:
    measure(published(here), "can/vit_l/800", FINETUNE, 88)
    measure(published(here), "can/vit_l/800", PROBE, 60)
    measure(here, "can/vit_l/800", PROBE, 61, seeds=1)
    text = make_table3.render(here)
    assert cells(text, "Method")[3:] == [
        "Finetuning: paper",
        "Finetuning: published",
        "Finetuning: yours",
        "Linear probe: paper",
        "Linear probe: published",
        "Linear probe: yours",
    ]
    expected = ["84.7", "88.1 ± 0.1 (3)", "–", "76.2", "60.1 ± 0.1 (3)", "61.0 (1)"]
    assert cells(text, "CAN", "ViT-L", "800")[3:] == expected


def test_a_cited_method_is_measured_beside_its_quotation_whose_protocol_is_noted(here: Setting) -> None:
    """The paper prints DINO's 400 epochs as 1600."""
    measure(here, "dino/vit_b/400", PROBE, 40, seeds=1)
    measure(here, "simmim/vit_b/800", FINETUNE, 50, seeds=1)
    text = make_table3.render(here)
    assert cells(text, "DINO, Caron et al. (2021)", "ViT-B", "1600")[3:] == ["82.8", "–", "78.2 (b)", "40.0 (1)"]
    assert cells(text, "SimMIM, Xie et al. (2022)", "ViT-B", "800")[3:] == ["83.8", "50.0 (1)", "56.7 (d)", "–"]
    assert "(b) of the class token and the mean of the patch tokens; the epochs that are run here are 400;" in text
    assert "(d) of the 8th of 12 layers" in text
    lines = csv.DictReader((here.results_dir / "laptop" / "table3.csv").open(encoding="utf-8"))
    assert "78.2" in {line["paper"] for line in lines}  # a number, without its mark


def test_the_row_of_the_papers_other_version_is_marked(here: Setting) -> None:
    text = make_table3.render(here)
    assert cells(text, "SimCLR", "ViT-B", "800")[3:] == ["–", "–", "73.5*", "–"]  # 74.8 - 1.3
    assert "the abstract of its other version puts CAN 1.3 above SimCLR" in text


def test_from_scratch_is_finetuning_of_an_untrained_encoder(here: Setting) -> None:
    measure(here, "random/vit_b/0", "finetune_scratch", 50, seeds=1)
    measure(here, "random/vit_b/0", PROBE, 30, seeds=1)
    text = make_table3.render(here)
    assert cells(text, "from scratch", "ViT-B", "100")[3:] == ["79.1", "50.0 (1)", "–", "30.0 (1)"]
    assert "random/vit_b/0: `" not in text  # nothing of it is missing


def test_the_orderings_are_the_papers_in_each_evaluation(here: Setting) -> None:
    for row, finetuned, probed in (("can/vit_l/800", 70, 40), ("mae/vit_l/800", 75, 30), ("can/vit_b/800", 60, 35)):
        measure(published(here), row, FINETUNE, finetuned)
        measure(published(here), row, PROBE, probed)
    measure(published(here), "random/vit_b/0", "finetune_scratch", 65)
    text = make_table3.render(here)
    # Finetuning: 3 pairs on ViT-L, 1 on ViT-B at 800 (83.6 each at 1600), 2 lengths, 2 sizes, 4 above from scratch.
    assert "Of the 12 orderings of the paper by finetuning, 1 leans to the paper, 2 lean against it, " in text
    assert "0 are open and 9 are not measured." in text
    above = "CAN above MAE at equal size and epochs"
    assert cells(text, above, "Finetuning: ViT-L 800")[2::2] == ["+1.0", "leans against"]
    assert cells(text, above, "Linear probe: ViT-L 800")[2::2] == ["+4.8", "leans to the paper"]
    assert cells(text, "Pre-trained above not pre-trained", "Finetuning: CAN ViT-B 800")[2::2] == [
        "+4.3",
        "leans against",
    ]
    assert "ViT-B 1600 |" not in "".join(
        line for line in text.splitlines() if "CAN above MAE" in line and "Fine" in line
    )


def test_simclr_on_vit_b_is_held_against_can_by_the_other_versions_number(here: Setting) -> None:
    measure(here, "can/vit_b/800", PROBE, 40)
    measure(here, "simclr/vit_b/800", PROBE, 50)
    line = cells(make_table3.render(here), "CAN above SimCLR at equal size and epochs", "Linear probe: ViT-B 800*")
    assert line[2::2] == ["+1.3", "leans against"]


def test_the_csv_has_a_line_a_row_and_evaluation(here: Setting) -> None:
    measure(here, "can/vit_l/800", FINETUNE, 88)
    make_table3.render(here, brief=True)
    lines = list(csv.DictReader((here.results_dir / "laptop" / "table3.csv").open(encoding="utf-8")))
    assert len(lines) == 2 * 19
    (line,) = [line for line in lines if line["mean"]]
    assert (line["method"], line["evaluation"], line["paper"], line["mean"], line["test_images"]) == (
        "CAN",
        "finetune",
        "84.7",
        "88.1",
        "10000",
    )
