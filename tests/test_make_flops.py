"""The FLOPs table: its numbers against the paper's architectures, its sentences, its files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis import make_flops
from analysis.lib.documents import to_csv
from analysis.make_flops import as_counts, claims, comparison, count, pages, read_counts
from can.errors import DataError

PUBLISHED = make_flops.RESULTS / "published" / "flops.csv"
PRINTED_GMACS = {  # forward, both views where a method has two
    ("can", "B"): 27.9,
    ("simclr", "B"): 35.0,
    ("can", "L"): 71.1,
    ("simclr", "L"): 122.5,
    ("mae", "L"): 20.3,
}


@pytest.fixture(scope="module")
def usual() -> pd.DataFrame:
    return as_counts(count(method, size, make_flops.USUAL_RATE[method]) for size in "BL" for method in make_flops.NAMES)


def test_the_methods_cost_what_their_architectures_say(usual: pd.DataFrame) -> None:
    found = {(row.method, row.encoder): row.forward_macs / 1e9 for row in usual.itertuples()}
    for key, printed in PRINTED_GMACS.items():
        assert found[key] == pytest.approx(printed, rel=0.01), key
    assert found["mae", "B"] == pytest.approx(9.5, rel=0.02)  # printed without the linear layers around the blocks


def test_modules_add_up_to_the_loss_and_training_costs_three_forward_passes(usual: pd.DataFrame) -> None:
    modules = usual[["encoder_macs", "decoder_macs", "head_macs"]]
    # What is left is InfoNCE's product of all projections with all.
    assert (modules.sum(axis=1) / usual["forward_macs"]).tolist() == pytest.approx([1] * 6, rel=2e-3)
    assert (usual["step_flops"] / usual["forward_macs"]).tolist() == pytest.approx([6] * 6, rel=0.1)
    assert modules.notna().to_numpy().tolist()[:3] == [[True, True, True], [True, False, True], [True, True, False]]


@pytest.mark.parametrize(("method", "ratio"), [("dino", 2.05), ("cae", 0.52)])
def test_a_cited_method_costs_what_its_own_views_teacher_and_local_crops_say(method: str, ratio: float) -> None:
    """Of ViT-B's SimCLR in forward and backward passes, worked out by hand for 2 + 8 crops of DINO and so on."""
    step = make_flops.count_beside(method, "B")["step_flops"]
    counts = read_counts(PUBLISHED).set_index(["encoder", "method", "mask_rate"])["step_flops"]
    assert step / counts["B", "simclr", 0.0] == pytest.approx(ratio, rel=0.05)
    (published,) = counts.loc["B", method]
    assert step == pytest.approx(published, rel=make_flops.SAME)


def made_up(simclr_macs: int, simclr_flops: int) -> pd.DataFrame:
    columns = (
        "encoder",
        "method",
        "mask_rate",
        "forward_macs",
        "encoder_macs",
        "decoder_macs",
        "head_macs",
        "step_flops",
    )
    rows = [("L", "can", 0.5, 100, 50, 30, 20, 600), ("L", "simclr", 0.0, simclr_macs, 50, None, 50, simclr_flops)]
    return as_counts(dict(zip(columns, row, strict=True)) for row in rows)


def test_the_papers_claim_is_judged_by_the_counts() -> None:
    sentences = claims(made_up(172, 1080))
    assert len(sentences) == 2
    assert sentences[0] == (
        "The paper (Abstract, Sec. 1) says that SimCLR needs 70 % more FLOPs than CAN at ViT-L: confirmed, it is 72 % "
        "in the forward pass and 80 % in a training step."
    )
    assert "CAN needs 41 % fewer FLOPs than SimCLR at ViT-L: confirmed, it is 42 %" in sentences[1]
    assert "not confirmed, it is 25 %" in claims(made_up(125, 750))[0]
    assert claims(made_up(125, 750).assign(encoder="S")) == []  # the paper states nothing of it


def test_a_row_shows_shares_of_its_modules_and_what_simclr_takes_beside_it() -> None:
    can, simclr = make_flops.table(made_up(172, 1080)).to_numpy().tolist()
    assert can == ["ViT-L", "CAN *", "50%", "0.0", "50%", "30%", "20%", "0.0", "1.72", "1.80"]
    assert simclr[4:7] == ["29%", "–", "29%"] and simclr[-2:] == ["1.00", "1.00"]


def test_counts_that_differ_from_the_published_ones_are_named() -> None:
    assert comparison(made_up(172, 1080), made_up(172, 1080)) == "All 2 rows are within 0.1% of the published counts."
    other = comparison(made_up(172, 1080), made_up(173, 1080))
    assert other == "1 of 2 rows differ by more than 0.1% from the published counts: SimCLR at ViT-L 0%."


def test_this_code_counts_what_is_published(usual: pd.DataFrame) -> None:
    assert comparison(usual, read_counts(PUBLISHED)) == "All 6 rows are within 0.1% of the published counts."


def test_the_files_have_every_row_and_come_back_from_csv(tmp_path: Path) -> None:
    counts = read_counts(PUBLISHED)
    (tmp_path / "flops.csv").write_text(to_csv(counts))
    pd.testing.assert_frame_equal(read_counts(tmp_path / "flops.csv"), counts)
    made = pages(counts)
    assert "| ViT-L     | SimCLR *" in made["flops.md"] and made["flops.md"].count("\n| ViT-") == len(counts)
    assert made["flops.tex"].count(r"\\") == 1 + len(counts) and made["flops.tex"].count(r"\midrule") == 3
    with pytest.raises(DataError, match="make_flops"):
        read_counts(tmp_path / "nothing.csv")
