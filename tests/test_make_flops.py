"""The FLOPs table: its numbers against the paper's architectures, its sentences, its files."""

from __future__ import annotations

import csv

import pytest

from analysis import make_flops
from analysis.make_flops import Cost, claims, cost, render

PRINTED_GMACS = {  # forward, both views where a method has two
    ("can", "B"): 27.9,
    ("simclr", "B"): 35.0,
    ("can", "L"): 71.1,
    ("simclr", "L"): 122.5,
    ("mae", "L"): 20.3,
}


@pytest.fixture(scope="module")
def usual() -> list[Cost]:
    return [cost(method, size, make_flops.USUAL_RATE[method]) for size in "BL" for method in make_flops.NAMES]


def test_the_methods_cost_what_their_architectures_say(usual: list[Cost]) -> None:
    found = {(row.method, row.size): row.forward_macs / 1e9 for row in usual}
    for key, printed in PRINTED_GMACS.items():
        assert found[key] == pytest.approx(printed, rel=0.01), key
    assert found["mae", "B"] == pytest.approx(9.5, rel=0.02)  # printed without the linear layers around the blocks


def test_modules_add_up_to_the_loss_and_training_costs_three_forward_passes(usual: list[Cost]) -> None:
    for row in usual:
        # What is left is InfoNCE's product of all projections with all.
        assert sum(row.module_macs.values()) == pytest.approx(row.forward_macs, rel=2e-3)
        assert row.step_flops == pytest.approx(3 * 2 * row.forward_macs, rel=0.1)
    assert [sorted(row.module_macs) for row in usual[:3]] == [
        ["decoder", "encoder", "head"],
        ["encoder", "head"],
        ["decoder", "encoder"],
    ]


def made_up(method: str, macs: float, step: float) -> Cost:
    return Cost("L", method, make_flops.USUAL_RATE[method], macs, {"encoder": macs / 2}, step)


def test_the_papers_claim_is_judged_by_the_counts() -> None:
    sentences = claims([made_up("can", 100, 600), made_up("simclr", 172, 1080)])
    assert len(sentences) == 2
    assert sentences[0] == (
        "The paper (Abstract, Sec. 1) says that SimCLR needs 70 % more FLOPs than CAN at ViT-L: confirmed, it is 72 % "
        "in the forward pass and 80 % in a training step."
    )
    assert "CAN needs 41 % fewer FLOPs than SimCLR at ViT-L: confirmed, it is 42 %" in sentences[1]
    assert "not confirmed, it is 25 %" in claims([made_up("can", 100, 600), made_up("simclr", 125, 750)])[0]


def test_the_three_files_have_every_row(tmp_path, usual: list[Cost]) -> None:
    markdown = render(tmp_path, usual)
    assert markdown == (tmp_path / "flops.md").read_text()
    with (tmp_path / "flops.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["encoder"]) for row in rows] == [(row.method, row.size) for row in usual]
    assert float(rows[3]["forward_macs"]) == pytest.approx(71.1e9, rel=0.01)
    assert rows[1]["decoder_macs"] == ""
    assert "| ViT-L   | SimCLR * |     0% |" in markdown
    assert (tmp_path / "flops.tex").read_text().count(r"\\") == 1 + len(usual)
