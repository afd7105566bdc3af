"""Figure 1: accuracy at equal cost and by pre-training set, of invented runs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from invented import add, cells, contents, setting

from analysis import make_figure1
from can.commands.scales import SCALES
from can.commands.setting import Setting
from can.commands.spec import Spec

FLOPS_OF_IMAGE = {"can": 1.0, "simclr": 2.0, "mae": 0.5}
SCHEDULE = SCALES["laptop"].schedule
LONGER = SCHEDULE.images(5000) / SCHEDULE.images(800)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    def flops(config) -> float:
        return FLOPS_OF_IMAGE[config.method.name] * config.optim.last_step * config.optim.batch_size

    monkeypatch.setattr(make_figure1, "pretraining_flops", flops)
    return setting(tmp_path)


def measure(where: Setting, spec: Spec, top1: float) -> None:
    """Three seeds that hardly differ."""
    for seed in range(3):
        add(where, spec, seed, top1=top1 + 0.1 * seed)


def jft(method: str, epochs: float) -> Spec:
    return Spec(method, "vit_l", "jft", epochs)


def test_nothing_is_compared_where_only_one_curve_is_measured(here: Setting, monkeypatch) -> None:
    for spec, top1 in ((jft("can", 800), 60), (jft("can", 5000), 60), (jft("mae", 5000), 50)):
        measure(here, spec, top1)
    monkeypatch.setitem(FLOPS_OF_IMAGE, "simclr", 2 * LONGER)
    monkeypatch.setitem(FLOPS_OF_IMAGE, "mae", 0.5 / LONGER)
    assert "## At equal floating-point operations" not in make_figure1.render(here)  # one length is no curve
    for spec, top1 in ((jft("simclr", 800), 70), (jft("simclr", 5000), 70), (jft("mae", 800), 70)):
        measure(here, spec, top1)
    text = make_figure1.render(here)  # the curves do not overlap
    assert "## At equal floating-point operations" not in text
    assert "- SimCLR is not compared with CAN at equal FLOPs: its runs cost" in text
    assert "- MAE is not compared with CAN at equal FLOPs: its runs cost" in text


def test_the_difference_at_equal_cost_is_read_between_the_lengths(here: Setting, monkeypatch) -> None:
    """SimCLR's shortest run costs as much as one of CAN halfway, in log FLOPs, between its two."""
    monkeypatch.setitem(FLOPS_OF_IMAGE, "simclr", LONGER**0.5)
    for spec, top1 in ((jft("can", 800), 60), (jft("can", 5000), 70), (jft("simclr", 800), 80)):
        measure(here, spec, top1)
    measure(here, jft("simclr", 5000), 80)
    lines = [line for line in make_figure1.render(here).splitlines() if "CAN above SimCLR at equal FLOPs" in line]
    at_ours, at_theirs = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert at_ours[1].startswith("CAN's 5000 epochs") and at_ours[2].startswith("−10.0 [")
    assert at_ours[3] == "leans against"
    assert at_theirs[1].startswith("SimCLR's 800 epochs") and at_theirs[2].startswith("−15.0 [")


def test_each_pre_training_set_is_judged_and_the_gap_between_them(here: Setting) -> None:
    values = {("can", "in1k"): 76, ("mae", "in1k"): 71, ("can", "jft"): 75, ("mae", "jft"): 55}
    for (method, data), top1 in values.items():
        measure(here, Spec(method, "vit_l", data, 800), top1)
    text = make_figure1.render(here)
    assert cells(text, "IN-1K", "MAE") == ["IN-1K", "MAE", "71.4", "71.1 ± 0.1 (3)"]
    assert cells(text, "JFT-300M", "MAE") == ["JFT-300M", "MAE", "–", "55.1 ± 0.1 (3)"]
    assert cells(text, "CAN above MAE", "IN-1K")[3] == "leans to the paper"
    gap = cells(text, "CAN above MAE by more", "JFT-300M than IN-1K")
    assert gap[2].startswith("+15.0 [") and gap[3] == "leans to the paper"


def test_the_costs_are_multiples_of_cans(here: Setting) -> None:
    assert cells(make_figure1.render(here), "SimCLR") == ["SimCLR", "2e-09", "2.00", "2e-09", "2.00"]


def test_the_picture_is_remade_to_the_byte_with_its_numbers(here: Setting) -> None:
    for spec, top1 in ((jft("can", 800), 60), (jft("can", 5000), 62), (Spec("can", "vit_l", "in1k", 800), 65)):
        measure(here, spec, top1)
    make_figure1.render(here)
    folder = here.results_dir / "laptop"
    before = contents(folder)
    assert {f"figure1.{kind}" for kind in ("png", "pdf", "csv", "md", "tex")} <= {path.name for path in before}
    lines = list(csv.DictReader((folder / "figure1.csv").open(encoding="utf-8")))
    assert {(line["data"], line["epochs"], line["mean"]) for line in lines} == {
        ("jft", "800", "60.1"),
        ("jft", "5000", "62.1"),
        ("in1k", "800", "65.1"),
    }
    assert all(float(line["flops"]) == float(line["images"]) for line in lines)
    make_figure1.render(here)
    assert contents(folder) == before
