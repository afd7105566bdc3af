"""Table 4: final losses beside the paper's, held out and at the end of training, and whether CAN's are lower."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest
from invented import add, cells, published, setting

from analysis import make_table4
from analysis.lib.results import read, tail_mean
from can.commands.setting import Setting
from can.errors import DataError
from experiments.table4_complementarity import RUNS

SIMCLR, MAE, CAN = RUNS


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def measure(here: Setting, simclr: Sequence[float], can: Sequence[float]) -> None:
    """InfoNCE by seed, and a reconstruction that is .5 for MAE and .4 for CAN."""
    for seed, (without, within) in enumerate(zip(simclr, can, strict=True)):
        add(here, SIMCLR, seed, "final_losses", metrics={"infonce": without})
        add(here, MAE, seed, "final_losses", metrics={"reconstruct": 0.5 + 0.001 * seed})
        metrics = {"infonce": within, "reconstruct": 0.4 + 0.0011 * seed, "denoise": 0.0002}
        add(here, CAN, seed, "final_losses", metrics=metrics)


def test_each_loss_has_the_papers_value_and_the_held_out_one(here: Setting) -> None:
    measure(published(here), [2.5, 2.6, 2.7], [2.0, 2.1, 2.2])
    text = make_table4.render(here)
    assert cells(text, "InfoNCE", "SimCLR")[2:] == ["9.157", "2.6000 ± 0.1000 (3)", "–"]
    assert cells(text, "InfoNCE", "CAN")[2:4] == ["9.143", "2.1000 ± 0.1000 (3)"]
    assert cells(text, "Reconstruction", "MAE")[2:4] == ["0.1658", "0.5010 ± 0.0010 (3)"]
    assert cells(text, "Reconstruction", "CAN")[2:4] == ["0.1633", "0.4011 ± 0.0011 (3)"]
    assert cells(text, "Denoising", "CAN")[2:4] == ["–", "0.0002 ± 0.0000 (3)"]
    assert "on 10,000 held-out images" in text and "4.143 here and 9.011 in the paper" in text  # ln 63, ln 8191


def test_a_lower_loss_of_can_is_for_the_paper_and_a_higher_one_against(here: Setting) -> None:
    measure(published(here), [2.5, 2.6, 2.7], [2.6, 2.71, 2.8])
    text = make_table4.render(here)
    assert "- Published: Of the 2 claims of the paper, 1 leans to the paper, 1 leans against it, " in text
    infonce = cells(text, "CAN's is below SimCLR's", "InfoNCE")
    # Differences by seed are -.1, -.11, -.1: mean -.1033, standard error .00333, t of 2 degrees of freedom 4.303.
    assert infonce[2:] == ["+0.0140", "−0.1033 [−0.1177, −0.0890]", "leans against"]
    assert cells(text, "CAN's is below MAE's", "Reconstruction")[2::2] == ["+0.0025", "leans to the paper"]
    assert "that of the finite test set is not known for losses" in text


def test_losses_within_the_error_of_seeds_are_open(here: Setting) -> None:
    measure(here, [2.5, 2.6, 2.7], [2.6, 2.5, 2.6])
    assert cells(make_table4.render(here), "CAN's is below SimCLR's")[4] == "open"


def test_one_seed_decides_nothing_and_equal_losses_are_no_error(here: Setting) -> None:
    measure(here, [2.5], [1.5])
    assert cells(make_table4.render(here), "CAN's is below SimCLR's")[3:] == ["+1.0000 (one seed)", "open"]
    measure(here, [2.5, 2.5], [2.5, 2.5])
    assert cells(make_table4.render(here), "CAN's is below SimCLR's")[4] == "open"


def test_the_end_of_training_is_the_mean_over_the_last_tenth_of_the_steps(here: Setting) -> None:
    run = add(here, CAN, 0, "final_losses", metrics={"infonce": 2.0})
    (_, found) = read(make_table4.NEEDS, here).runs[0]
    last = found.config.optim.last_step
    assert last == 787  # 100 epochs at laptop: the last tenth begins after step 708.3
    curve = run.results / "train.csv"
    curve.write_text("step,infonce\n700,9\n710,9\n750,3\n787,2\n")
    assert tail_mean(found, "infonce") == pytest.approx((3 * 40 + 2 * 37) / 77)
    assert cells(make_table4.render(here), "InfoNCE", "CAN")[4] == "2.5195 (1)"
    curve.write_text("step,infonce\n500,9\n787,2\n")
    assert tail_mean(found, "infonce") == 2  # no line is in it as a whole
    assert tail_mean(found, "denoise") is None
    curve.unlink()
    with pytest.raises(DataError, match="train.csv is missing or empty: pre-train the run again"):
        tail_mean(found, "infonce")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"step,infonce\n",
        b"step,infonce\n750,3\n",
        b"step,infonce\n787,3\n750,2\n",
        b"step,infonce\n750,3\n787,nan\n",
        b"step,infonce\n750,3\n787,x\n",
        b"infonce\n3\n",
        b"null",
        b"\xff\xfe\x00",
        b'step,infonce\n1,2,"',
    ],
)
def test_a_curve_that_is_none_or_cut_is_one_line_with_its_file(here: Setting, content: bytes) -> None:
    """The end of a cut one was taken for the end of training."""
    run = add(here, CAN, 0, "final_losses", metrics={"infonce": 2.0})
    (run.results / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"train\.csv is (missing or empty|damaged)") as error:
        make_table4.render(here)
    assert "\n" not in str(error.value)


def test_the_probe_of_the_same_encoders_is_below(here: Setting) -> None:
    measure(here, [2.5], [1.5])
    add(here, SIMCLR, 0, top1=40)
    text = make_table4.render(here)
    assert cells(text.partition("## What these encoders are worth")[2], "SimCLR") == ["SimCLR", "40.0 (1)"]
    assert "mae/vit_b/100/mask_rate=0.5 (linear_probe): `" in text


def test_the_csv_has_a_line_a_loss_and_method(here: Setting) -> None:
    measure(here, [2.5, 2.6, 2.7], [2.0, 2.1, 2.2])
    make_table4.render(here, brief=True)
    lines = list(csv.DictReader((here.results_dir / "laptop" / "table4.csv").open(encoding="utf-8")))
    assert [(line["loss"], line["method"], line["paper"], line["held_out_mean"]) for line in lines] == [
        ("infonce", "simclr", "9.157", "2.6"),
        ("infonce", "can", "9.143", "2.1"),
        ("reconstruct", "mae", "0.1658", "0.501"),
        ("reconstruct", "can", "0.1633", "0.4011"),
        ("denoise", "can", "", "0.0002"),
    ]
