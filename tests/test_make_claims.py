"""The scoreboard: what the paper claims, and the verdict that results with known differences get."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from invented import Table, add, cells, published, setting

from analysis import make_all, make_claims
from analysis.claims import CLAIMS
from analysis.lib import significance, verdicts
from analysis.lib.claims import Claim, Judged, board
from analysis.lib.measures import Flat, Measure, OverSets, Peak
from analysis.lib.results import read
from analysis.lib.significance import difference
from analysis.lib.verdicts import AGREES, DISAGREES, LEANS, NO_DIFFERENCE, NOT_MEASURED, OPEN
from can.commands.setting import Setting
from can.commands.spec import Spec
from experiments import figure5_few_shot, figure7_masking, figure8_weights, table2_jft, table4_complementarity
from experiments.harness.declared import all_needs, declarations


@pytest.fixture
def here(tmp_path: Path) -> Setting:
    return setting(tmp_path)


@pytest.fixture
def once(tmp_path: Path) -> Setting:
    """A scale that is looked at once."""
    return setting(tmp_path, "overnight")


def table_2(here: Setting, gap: float) -> None:
    """CAN 60, SimCLR `gap` below; each run within .2 of its row."""
    for seed, noise in enumerate((-0.2, 0.0, 0.2)):
        for row, top1 in {"can/vit_l/5000": 60.0, "simclr/vit_l/5000": 60.0 - gap, "mae/vit_l/5000": 50.0}.items():
            add(here, row, seed, top1=top1 + (noise if "can" in row else -noise))


class Looked:
    """The reader's board: of all seeds, or of the fresh ones."""

    def __init__(self, here: Setting) -> None:
        self.every, self.fresh = make_claims.judge(read(make_claims.NEEDS, here), here)["yours"]

    def at(self, text: str, *, fresh: bool = False) -> Judged:
        (found,) = [one for one in (self.fresh if fresh else self.every) if one.claim.text.startswith(text)]
        return found

    def directions(self, *texts: str) -> list[str]:
        return [self.at(text).direction for text in texts]


@pytest.mark.parametrize(("gap", "expected"), [(6.0, AGREES), (0.3, OPEN), (-6.0, DISAGREES)])
def test_a_comparison_gets_the_verdict_that_its_difference_has(once: Setting, gap: float, expected: str) -> None:
    table_2(once, gap)
    after = "after uncurated pre-training, by linear probe, ViT-L"
    texts = (f"CAN is above SimCLR {after}", f"CAN is above MAE {after}", "Longer pre-training helps CAN, 800 to 5000")
    assert Looked(once).directions(*texts) == [expected, AGREES, NOT_MEASURED]


def test_the_first_of_three_looks_decides_less_and_the_seeds_that_were_seen_confirm_nothing(here: Setting) -> None:
    table_2(here, 2.5)
    text = "CAN is above SimCLR after uncurated pre-training, by linear probe, ViT-L"
    looked = Looked(here)
    one = looked.at(text)
    assert one.direction == LEANS and one.estimate is not None and one.estimate.p is not None and one.estimate.p < 0.05
    assert looked.at(text, fresh=True).direction == NOT_MEASURED
    for seed, noise in enumerate((-0.2, 0.0, 0.2), 3):
        for row, top1 in {"can/vit_l/5000": 60.0, "simclr/vit_l/5000": 50.0}.items():
            add(here, row, seed, top1=top1 + (noise if "can" in row else -noise))
    again = Looked(here).at(text, fresh=True)
    assert again.direction == AGREES and again.estimate is not None
    assert (again.estimate.seeds, again.estimate.value) == (3, pytest.approx(10.0))


def test_one_seed_decides_nothing(here: Setting) -> None:
    add(here, "can/vit_l/5000", top1=60.0)
    add(here, "mae/vit_l/5000", top1=20.0)
    assert Looked(here).at("CAN is above MAE after uncurated pre-training, by linear probe, ViT-L").direction == OPEN
    assert "+40.0 (one seed)" in make_claims.render(here)


def test_published_and_own_claims_stand_side_by_side_and_are_counted(here: Setting) -> None:
    table_2(published(here), 6.0)
    table_2(here, -6.0)
    page = make_claims.render(here)
    line = cells(page, "Table 2", "CAN is above SimCLR after uncurated pre-training, by linear probe, ViT-L 5000")
    assert line[2] == "+2.0" and line[3].startswith("+6.0 [+4.5, ")
    assert line[4:8] == ["3 (0 fresh)", AGREES, "larger", "3 rows of longer training"]
    assert line[8].startswith("−6.0 [−7.4, ") and line[10] == DISAGREES
    counted = "Of the 12 primary claims 0 are decided by all seeds, and 0 are decided by the fresh ones alone; by all, "
    assert f"Published: {counted}12 are not measured." in page and f"Yours: {counted}" in page
    assert "3 lean to the paper, 0" not in page and "Of the 3 costs 2 are as printed." in page
    made = {path.name for path in (here.results_dir / "laptop").glob("claims.*")}
    assert made == {f"claims.{kind}" for kind in ("md", "csv", "tex")}  # no picture, as no primary claim is measured


def test_what_nobody_measured_has_the_command_that_does(here: Setting) -> None:
    page = make_claims.render(here)
    for item in {claim.item for claim in CLAIMS} - {""}:
        assert f"bash experiments/{item}.sh --scale=laptop" in page and "--seeds=0,1,2" in page
    assert "12 are not measured. Of the" in page


def test_there_are_forty_claims_and_more_and_each_compares_runs_that_its_item_makes() -> None:
    assert len(CLAIMS) >= 40
    assert len({(claim.place, claim.text) for claim in CLAIMS}) == len(CLAIMS)
    for claim in CLAIMS:
        needs = all_needs() if claim.item == "all" else declarations()[claim.item] if claim.item else ()
        assert set(claim.measure.rows) <= {need.spec for need in needs}, claim.text


def test_the_primary_claims_are_the_twelve_that_were_fixed_beforehand() -> None:
    page = (Path(make_claims.__file__).parents[1] / "docs" / "claims.md").read_text(encoding="utf-8")
    fixed = dict(re.findall(r"^\| (\d+) \| (.*?) \|", page, re.M))
    primary = {str(claim.primary): claim.text.replace(",", "") for claim in CLAIMS if claim.primary}
    assert list(primary) == list(fixed) and len(fixed) == 12
    assert all(primary[number].startswith(text) for number, text in fixed.items())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("CAN is above MAE after uncurated pre-training, by linear probe", ((75.4 - 64.1) + (74.3 - 50.5)) / 2),
        ("CAN gains more than SimCLR from longer", (75.4 - 72.8) - (73.4 - 72.6)),
        (
            "CAN is above SimCLR after uncurated pre-training, by linear probe",
            ((67.1 - 65.8) + (72.8 - 72.6) + (74.3 - 73.1) + (75.4 - 73.4)) / 4,
        ),
        ("The denoising objective helps CAN", 68.9 - 67.9),
        ("CAN is above MAE, ViT-L 800 (the paper's own", 84.7 - 83.7),
        ("Training with both lowers the contrastive loss", 9.157 - 9.143),
        ("CAN is above SimCLR on IN-1K, by linear probe", (1.3 + (76.2 - 73.9)) / 2),
        ("Longer training helps CAN", ((75.4 - 72.8) + (74.8 - 74.0)) / 2),
        ("CAN ViT-B 800 is above BEiT 800", 74.0 - 37.6),
        ("CAN is above CAE at equal epochs", ((74.0 - 68.6) + (74.8 - 70.4)) / 2),
        ("MoCo-v3 300 is above CAN", 76.7 - 74.8),
        ("DINO 400 is above CAN", 78.2 - 74.8),  # which the paper prints with 1600
    ],
)
def test_what_the_paper_prints_for_a_claim_follows_from_its_rows(text: str, value: float) -> None:
    claim = next(claim for claim in CLAIMS if claim.text.startswith(text))
    assert claim.paper == pytest.approx(value)


def invented(values: Mapping[str, Mapping[Spec, float]]) -> Table:
    """Runs of three seeds, exact up to .1, of rows with known values by metric."""
    return Table(
        {
            metric: pd.DataFrame(
                [
                    dict(row=row, seed=seed, value=value + noise, n=10**12)
                    for place, (row, value) in enumerate(rows.items())
                    for seed, noise in enumerate(((-0.1, 0.0, 0.1), (0.1, -0.1, 0.0))[place % 2])
                ]
            )
            for metric, rows in values.items()
        }
    )


A, B, C, D = (Spec("can", "vit_b", "in1k", epochs) for epochs in (1, 2, 3, 4))


def one_measure(measure: Measure) -> Claim:
    return Claim("Table 0", "invented", "", measure)


def judge(measure: Measure, runs: Table) -> Judged:
    (found,) = board([one_measure(measure)], runs)
    return found


@pytest.mark.parametrize(
    ("best", "expected"),
    [(55.0, AGREES), (50.02, NO_DIFFERENCE), (40.0, DISAGREES)],
    ids=["above", "level", "below"],
)
def test_a_peak_needs_one_row_above_and_fails_if_all_are_below(best: float, expected: str) -> None:
    found = judge(Peak((B, C), A), invented({"top1": {A: 50.0, B: best, C: 30.0, D: 45.0}}))
    assert found.direction == expected
    assert found.estimate is not None and found.estimate.value == pytest.approx(best - 50, abs=0.01)


@pytest.mark.parametrize(("far", "expected"), [(50.1, AGREES), (50.9, OPEN), (58.0, DISAGREES)])
def test_flat_is_what_differs_by_less_than_the_margin_beyond_doubt(far: float, expected: str) -> None:
    runs = invented({"top1": {A: 50.0, B: 50.0, C: far}})
    assert judge(Flat((A, B, C), 1.0), runs).direction == expected


def test_flat_is_decided_when_every_pairs_90_percent_interval_is_within_the_margin_and_not_else() -> None:
    """An intersection-union test, without an adjustment for the number of pairs."""
    for far in np.linspace(50.5, 50.9, 9):
        runs = invented({"top1": {A: 50.0, B: 50.2, C: float(far)}})
        pairs = runs.contrast("", "top1", [difference(*pair) for pair in ((A, B), (A, C), (B, C))])
        halves = [
            significance.half_width(0.1, line.seed_variance, line.image_variance, line.df)
            for line in pairs.itertuples()
        ]
        inside = all(abs(value) + half < 1 for value, half in zip(pairs["difference"], halves, strict=True))
        assert (judge(Flat((A, B, C), 1.0), runs).direction == AGREES) == inside
    assert judge(Flat((A, B, C), 1.0), invented({"top1": {A: 50.0, B: 50.2, C: 50.5}})).direction == AGREES


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        ((60.0, 60.0, 60.0), AGREES, "above on 3 of 3 sets"),
        ((60.0, 60.0, 30.2), NO_DIFFERENCE, "above on 2 of 3 sets"),
        ((60.0, 40.0, 40.0), DISAGREES, "above on 1 of 3 sets"),
    ],
)
def test_rows_on_several_sets_are_judged_by_the_mean_and_the_sets_are_counted(
    values: tuple[float, ...], expected: str, note: str
) -> None:
    runs = invented({f"set {place}": {A: value, B: 50.0} for place, value in enumerate(values)})
    found = judge(OverSets(A, (B,), "few_shot", ".*"), runs)
    assert (found.direction, found.estimate and found.estimate.note) == (expected, note)


def test_equal_rows_are_above_on_no_set() -> None:
    runs = invented({f"set {place}": {A: 100 / 3, B: 100 / 3} for place in range(3)})
    found = judge(OverSets(A, (B,), "few_shot", ".*"), runs)
    assert found.estimate is not None and found.estimate.note == "above on 0 of 3 sets"


def test_the_best_of_several_equal_rows_is_above_another_in_at_most_a_twentieth_of_simulations() -> None:
    """The winner's own interval, not adjusted for its choice, would be above 0 in 9 % of them."""
    rng, rows = np.random.default_rng(0), (A, B, C, D)
    above = unadjusted = 0
    for values in 50 + rng.standard_normal((200, 4, 3)):
        lines = [
            dict(row=row, seed=seed, value=values[place, seed], n=10**9)
            for place, row in enumerate(rows)
            for seed in range(3)
        ]
        runs = Table({"top1": pd.DataFrame(lines)})
        found = Peak(rows[1:], A).judge(runs)
        assert found is not None and found.p is not None
        above += found.low > 0
        assert (found.low > 0) == (found.p < 0.05 and found.value > 0)
        unadjusted += bool((runs.contrast("", "top1", [difference(row, A) for row in rows[1:]])["low"] > 0).any())
    assert above <= 8 < unadjusted  # 2.5 % of 200, and twice the deviation of that count


@pytest.mark.parametrize(
    ("low", "high", "paper", "expected"),
    [
        (0.5, 1.5, 1.0, "as the paper's"),
        (0.5, 1.5, 2.0, "smaller"),
        (-0.5, 1.5, 2.0, "smaller"),
        (0.5, 1.5, 0.2, "larger"),
        (-0.5, 1.5, 1.0, "cannot tell"),
        (-0.5, 1.5, None, None),
        (-math.inf, math.inf, 1.0, None),
    ],
)
def test_the_size_is_held_against_what_the_paper_prints(
    low: float, high: float, paper: float | None, expected: str | None
) -> None:
    assert verdicts.size(low, high, paper) == expected


def test_a_run_that_is_two_specs_counts_once_and_is_not_compared_with_itself(once: Setting) -> None:
    base = figure8_weights.BASE
    for seed, top1 in enumerate((50.0, 50.5, 51.0)):
        add(once, base, seed, top1=top1)
        for sigma in figure8_weights.SIGMAS:
            add(once, base.but(sigma_max=sigma), seed, top1=top1 - (4 if sigma == 0 else 0))
    noise = Looked(once).at("A wide range of noise")
    assert noise.direction == AGREES and noise.estimate is not None
    assert noise.estimate.value == pytest.approx(4.0)


def test_a_lower_loss_is_a_claim_that_is_judged(once: Setting) -> None:
    simclr, mae, can = table4_complementarity.RUNS
    for seed, noise in enumerate((-0.001, 0.0, 0.001)):
        for spec, infonce in ((simclr, 2.5), (can, 2.3)):
            add(once, spec, seed, "final_losses", metrics={"infonce": infonce + noise})
        for spec, reconstruct in ((mae, 0.3), (can, 0.4)):
            add(once, spec, seed, "final_losses", metrics={"reconstruct": reconstruct + noise, "infonce": 2.3 + noise})
    texts = [f"Training with both lowers the {loss} loss" for loss in ("contrastive", "reconstruction")]
    assert Looked(once).directions(*texts) == [AGREES, DISAGREES]
    assert "0.200 nats [" in make_claims.render(once)


def test_masking_claims_read_the_masked_runs(once: Setting) -> None:
    rates = figure7_masking.RATES
    for seed, noise in enumerate((-0.1, 0.0, 0.1)):
        for method, top1 in {"can": (50, 53, 54, 52, 45, 40), "simclr": (55, 54, 52, 50, 45, 40)}.items():
            for spec, value in zip(figure7_masking.RUNS["left"][method], top1, strict=True):
                add(once, spec, seed, top1=value + noise)
    assert rates[0] == 0 and len(rates) == 6
    assert Looked(once).directions(
        "Masking harms SimCLR on IN-1K",
        "CAN is best at a rate of masking above 0 (IN-1K)",
        "CAN is best below MAE's rate of 75 % (IN-1K)",
        "Masking harms SimCLR (uncurated)",
    ) == [AGREES, AGREES, AGREES, NOT_MEASURED]


def test_few_shot_claims_read_each_set(once: Setting) -> None:
    for seed in (0, 1, 2):
        for spec in figure5_few_shot.RUNS["15"]:
            better = 30 if spec.method == "can" else 0
            metrics = {f"set{place}/10shot": (40 + better * (place < 8) + 0.1 * seed) / 100 for place in range(9)}
            add(once, spec, seed, "few_shot", n=1000, metrics=metrics)
    found = Looked(once).at("With 10 shots CAN is above MAE and SimCLR after")
    assert found.direction == AGREES and found.estimate is not None
    assert found.estimate.value == pytest.approx(30 * 8 / 9) and found.estimate.note == "above on 8 of 9 sets"


def test_all_makes_every_table_that_has_results_and_names_the_others(here: Setting) -> None:
    for need in table2_jft.NEEDS:
        add(here, need.spec, 0, top1=40)
    page = make_all.render(here)
    there = {path.name for path in (here.results_dir / "laptop").iterdir()}
    assert {"table2.md", "table1.md", "claims.md", "training_length.png", "claims.png"} <= there
    assert "`analysis/make_figure8.py`: nothing is measured" in page
    assert "bash experiments/figure8_weights.sh --scale=laptop" in page
    assert "Yours: Of the 12 primary claims" in page and "Of your 17 numbers" in page  # a run of two specs has one
