"""The scoreboard: what the paper claims, and the verdict that results with known differences get."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
from invented import add, cells, published, setting

from analysis import make_all, make_claims
from analysis.claims import CLAIMS
from analysis.lib import significance
from analysis.lib.claims import (
    CONTRADICTED,
    NOT_MEASURED,
    REPRODUCED,
    UNDECIDED,
    Claim,
    Flat,
    Measure,
    Peak,
    Wins,
    board,
)
from analysis.lib.results import read
from analysis.lib.significance import average, difference
from can.commands.setting import Setting
from can.commands.spec import Spec
from experiments import figure5_few_shot, figure7_masking, figure8_weights, table2_jft, table4_complementarity
from experiments.harness.declared import declarations


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


def table_2(here: Setting, gap: float) -> None:
    """CAN 60, SimCLR `gap` below; each run within .2 of its row."""
    for seed, noise in enumerate((-0.2, 0.0, 0.2)):
        for row, top1 in {"can/vit_l/5000": 60.0, "simclr/vit_l/5000": 60.0 - gap, "mae/vit_l/5000": 50.0}.items():
            add(here, row, seed, top1=top1 + (noise if "can" in row else -noise))


def verdict(text: str, here: Setting, source: str = "yours") -> str:
    judged = make_claims.judge(read(make_claims.NEEDS, here), here)[source]
    (found,) = [one for one in judged if one.claim.text.startswith(text)]
    return found.verdict


@pytest.mark.parametrize(("gap", "expected"), [(6.0, REPRODUCED), (0.3, UNDECIDED), (-6.0, CONTRADICTED)])
def test_a_comparison_gets_the_verdict_that_its_difference_has(here: Setting, gap: float, expected: str) -> None:
    table_2(here, gap)
    assert verdict("CAN is above SimCLR after uncurated pre-training", here) == expected
    assert verdict("CAN is above MAE after uncurated pre-training", here) == REPRODUCED
    assert verdict("Longer pre-training helps CAN, 800 to 5000", here) == NOT_MEASURED


def test_one_seed_decides_nothing(here: Setting) -> None:
    add(here, "can/vit_l/5000", top1=60.0)
    add(here, "mae/vit_l/5000", top1=20.0)
    assert verdict("CAN is above MAE after uncurated pre-training", here) == UNDECIDED
    assert "+40.0 (one seed)" in make_claims.render(here)


def test_published_and_own_claims_stand_side_by_side_and_are_counted(here: Setting) -> None:
    table_2(published(here), 6.0)
    table_2(here, -6.0)
    page = make_claims.render(here)
    line = cells(page, "Table 2", "CAN is above SimCLR after uncurated pre-training, by linear probe, ViT-L 5000")
    assert line[2] == "+2.0" and line[3].startswith("+6.0 [+4.5, ") and line[5] == REPRODUCED
    assert line[6].startswith("−6.0 [−7.4, ") and line[8] == CONTRADICTED
    assert (
        f"Published: Of the paper's {len(CLAIMS)} claims 6 are reproduced, 0 are contradicted" in page
    )  # 3 are of costs
    assert "Yours: Of the paper's" in page and "5 are reproduced, 1 is contradicted" in page
    assert {path.suffix for path in (here.results_dir / "laptop").glob("claims.*")} == {
        ".md",
        ".csv",
        ".tex",
        ".png",
        ".pdf",
    }


def test_what_nobody_measured_has_the_command_that_does(here: Setting) -> None:
    page = make_claims.render(here)
    for item in {claim.item for claim in CLAIMS} - {""}:
        assert f"bash experiments/{item}.sh --scale=laptop" in page and "--seeds=0,1,2" in page
    assert f"{len(CLAIMS) - 3} are not measured" in page


def test_there_are_forty_claims_and_more_and_each_compares_runs_that_its_item_makes() -> None:
    assert len(CLAIMS) >= 40
    assert len({(claim.place, claim.text) for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        declared = {need.spec for need in declarations()[claim.item]} if claim.item else set()
        assert set(claim.measure.rows) <= declared, claim.text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("CAN is above MAE after uncurated", 75.4 - 64.1),
        ("CAN gains more than SimCLR from longer", (75.4 - 72.8) - (73.4 - 72.6)),
        ("CAN is above SimCLR at equal epochs", ((67.1 - 65.8) + (72.8 - 72.6) + (74.3 - 73.1) + (75.4 - 73.4)) / 4),
        ("The whole denoising objective helps CAN", 68.9 - 67.9),
        ("CAN is above MAE, ViT-L 800, by finetuning", 84.7 - 83.7),  # its authors' own MAE, not He et al.'s
        ("Training with both lowers the contrastive loss", 9.157 - 9.143),
        ("With 10 shots CAN is above MAE and SimCLR after IN-1K", 8),
    ],
)
def test_what_the_paper_prints_for_a_claim_follows_from_its_rows(text: str, value: float) -> None:
    (claim,) = [claim for claim in CLAIMS if claim.text.startswith(text)]
    assert claim.paper == pytest.approx(value)


class Invented:
    """Runs of three seeds, exact up to .1, of rows with known values by metric."""

    def __init__(self, values: Mapping[str, Mapping[Spec, float]]) -> None:
        self.values = values

    def contrast(self, evaluation, metric, claims):
        lines = [
            dict(row=row, seed=seed, value=value + noise, n=10**12)
            for place, (row, value) in enumerate(self.values[metric].items())
            for seed, noise in enumerate(((-0.1, 0.0, 0.1), (0.1, -0.1, 0.0))[place % 2])
        ]
        return significance.contrast(pd.DataFrame(lines), claims)

    def by_set(self, evaluation, pattern):
        return {metric: metric for metric in self.values}


A, B, C, D = (Spec("can", "vit_b", "in1k", epochs) for epochs in (1, 2, 3, 4))


def one_measure(measure: Measure) -> Claim:
    return Claim("Table 0", "invented", "", measure)


@pytest.mark.parametrize(
    ("best", "expected"),
    [(55.0, REPRODUCED), (50.05, UNDECIDED), (40.0, CONTRADICTED)],
    ids=["above", "level", "below"],
)
def test_a_peak_needs_one_row_above_and_fails_if_all_are_below(best: float, expected: str) -> None:
    runs = Invented({"top1": {A: 50.0, B: best, C: 30.0, D: 45.0}})
    (found,) = board([one_measure(Peak((B, C), A))], lambda claim: runs)
    assert found.verdict == expected
    assert found.estimate is not None and found.estimate.value == pytest.approx(best - 50, abs=0.01)


@pytest.mark.parametrize(("far", "expected"), [(50.1, REPRODUCED), (50.9, UNDECIDED), (58.0, CONTRADICTED)])
def test_flat_is_what_differs_by_less_than_the_margin_beyond_doubt(far: float, expected: str) -> None:
    runs = Invented({"top1": {A: 50.0, B: 50.0, C: far}})
    (found,) = board([one_measure(Flat((A, B, C), 1.0))], lambda claim: runs)
    assert found.verdict == expected


@pytest.mark.parametrize(
    ("values", "expected", "interval"),
    [
        ((60.0, 60.0, 60.0), REPRODUCED, (3, 3)),
        ((60.0, 60.0, 50.0), UNDECIDED, (2, 3)),
        ((60.0, 40.0, 40.0), CONTRADICTED, (1, 1)),
    ],
)
def test_wins_count_the_sets_that_are_decided(
    values: tuple[float, ...], expected: str, interval: tuple[int, int]
) -> None:
    runs = Invented({f"set {place}": {A: value, B: 50.0} for place, value in enumerate(values)})
    (found,) = board([one_measure(Wins(A, (B,), 9, 9, "few_shot", ".*"))], lambda claim: runs)  # a scale with 3 sets
    assert found.verdict == expected
    assert found.estimate is not None and found.estimate[1:3] == interval


def test_a_run_that_is_two_specs_counts_once_and_is_not_compared_with_itself(here: Setting) -> None:
    base = figure8_weights.BASE
    for seed, top1 in enumerate((50.0, 50.5, 51.0)):
        add(here, base, seed, top1=top1)
        for sigma in figure8_weights.SIGMAS:
            add(here, base.but(sigma_max=sigma), seed, top1=top1 - (4 if sigma == 0 else 0))
    judged = make_claims.judge(read(make_claims.NEEDS, here), here)["yours"]
    (noise,) = [one for one in judged if one.claim.text.startswith("A wide range of noise")]
    assert noise.verdict == REPRODUCED and noise.estimate is not None
    assert noise.estimate.value == pytest.approx(4.0)


def test_a_lower_loss_is_a_claim_that_is_reproduced(here: Setting) -> None:
    simclr, mae, can = table4_complementarity.RUNS
    for seed, noise in enumerate((-0.001, 0.0, 0.001)):
        for spec, infonce in ((simclr, 2.5), (can, 2.3)):
            add(here, spec, seed, "final_losses", metrics={"infonce": infonce + noise})
        for spec, reconstruct in ((mae, 0.3), (can, 0.4)):
            add(here, spec, seed, "final_losses", metrics={"reconstruct": reconstruct + noise, "infonce": 2.3 + noise})
    assert verdict("Training with both lowers the contrastive loss", here) == REPRODUCED
    assert verdict("Training with both lowers the reconstruction loss", here) == CONTRADICTED
    assert "0.200 nats [" in make_claims.render(here)


def test_masking_claims_read_the_masked_runs(here: Setting) -> None:
    rates = figure7_masking.RATES
    for seed, noise in enumerate((-0.1, 0.0, 0.1)):
        for method, top1 in {"can": (50, 53, 54, 52, 45, 40), "simclr": (55, 54, 52, 50, 45, 40)}.items():
            for spec, value in zip(figure7_masking.RUNS["left"][method], top1, strict=True):
                add(here, spec, seed, top1=value + noise)
    assert rates[0] == 0 and len(rates) == 6
    assert verdict("Masking harms SimCLR (IN-1K)", here) == REPRODUCED
    assert verdict("CAN is best at a rate of masking above 0 (IN-1K)", here) == REPRODUCED
    assert verdict("CAN is best below MAE's rate of 75 % (IN-1K)", here) == REPRODUCED
    assert verdict("Masking harms SimCLR (uncurated)", here) == NOT_MEASURED


def test_few_shot_wins_read_each_set(here: Setting) -> None:
    for seed in (0, 1, 2):
        for spec in figure5_few_shot.RUNS["15"]:
            better = 30 if spec.method == "can" else 0
            metrics = {f"set{place}/10shot": (40 + better * (place < 8) + 0.1 * seed) / 100 for place in range(9)}
            add(here, spec, seed, "few_shot", n=1000, metrics=metrics)
    judged = make_claims.judge(read(make_claims.NEEDS, here), here)["yours"]
    (found,) = [one for one in judged if one.claim.text.startswith("With 10 shots CAN is above MAE and SimCLR after")]
    assert found.verdict == REPRODUCED and found.estimate is not None and found.estimate[:3] == (8, 8, 9)
    assert average([difference(A, B)]) == {A: 1, B: -1}


def test_all_makes_every_table_that_has_results_and_names_the_others(here: Setting) -> None:
    for need in table2_jft.NEEDS:
        add(here, need.spec, 0, top1=40)
    page = make_all.render(here)
    there = {path.name for path in (here.results_dir / "laptop").iterdir()}
    assert {"table2.md", "table1.md", "claims.md", "training_length.png", "claims.png"} <= there
    assert "`analysis/make_figure8.py`: nothing is measured" in page
    assert "bash experiments/figure8_weights.sh --scale=laptop" in page
    assert "Yours: Of the paper's" in page and "Of your 14 numbers" in page  # a run of two specs has one
