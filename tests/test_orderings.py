"""The orderings that the paper's numbers have, and what measurements say of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from invented import Table, spec

from analysis.lib import orderings, significance
from analysis.lib.orderings import (
    Ordering,
    Printed,
    above_untrained,
    judged,
    paper_claims,
    signed,
    table,
    with_verdicts,
)
from analysis.lib.paper import paper_values
from analysis.lib.significance import difference
from analysis.make_table2 import table_rows
from experiments.table2_jft import RUNS, UNTRAINED

CAN, MAE, SIMCLR = (spec(f"{method}/vit_l/800") for method in ("can", "mae", "simclr"))


def runs(**values: list[float]) -> pd.DataFrame:
    """Runs of CAN, MAE and SimCLR by seed, on so many images that these are no error."""
    names = {"can": CAN, "mae": MAE, "simclr": SIMCLR}
    lines = [(names[name], seed, value) for name, own in values.items() for seed, value in enumerate(own)]
    return pd.DataFrame(lines, columns=["row", "seed", "value"]).assign(n=10**9)


def claim(above: object, below: object, paper: float | None = None) -> Ordering:
    return Ordering("title", "where", above, below, paper)  # type: ignore[arg-type]


def test_orderings_follow_the_papers_numbers_not_the_methods_names() -> None:
    (found,) = paper_claims([Printed(CAN, 60), Printed(MAE, 61)])
    assert found == Ordering("MAE above CAN at equal size and epochs", "ViT-L 800", MAE, CAN, 1)


def test_table_2_has_sixteen_orderings_and_a_claim_about_each_trained_row() -> None:
    """What it quotes from others is of other protocols, and is not ordered."""
    rows = [row for row in table_rows(paper_values()) if row.spec in RUNS]
    printed = [Printed(row.spec, row.printed.number) for row in rows if row.spec and row.printed]
    claims = paper_claims(printed)
    counts = pd.Series([claim.title for claim in claims]).value_counts().to_dict()
    assert counts == {
        "CAN above SimCLR at equal size and epochs": 4,  # ViT-B 800; ViT-L 800, 1600, 5000
        "CAN above MAE at equal size and epochs": 2,  # ViT-L 1600, 5000
        "SimCLR above MAE at equal size and epochs": 2,
        "Longer pre-training is better": 6,  # CAN 3, SimCLR 2, MAE 1
        "The larger encoder is better": 2,  # CAN 800, SimCLR 800
    }
    values = {row.spec: row.value for row in printed}
    assert all(claim.paper == values[claim.above] - values[claim.below] for claim in claims)
    untrained = above_untrained(RUNS, UNTRAINED)
    assert [claim.above for claim in untrained] == list(RUNS)
    assert all(claim.below.method == "random" and claim.below.model == claim.above.model for claim in untrained)


def test_verdicts_are_those_of_the_statistics() -> None:
    measured = runs(can=[80, 80.2, 80.1], mae=[70, 70.1, 70.4], simclr=[80, 80.3, 80.1])
    claims = [claim(CAN, MAE, 9), claim(MAE, SIMCLR, -3), claim(CAN, SIMCLR, 1), claim(CAN, UNTRAINED[0])]
    found = judged(claims, Table({"top1": measured}), "linear_probe")
    expected = significance.contrast(measured, [difference(one.above, one.below) for one in claims])
    pd.testing.assert_frame_equal(found[list(expected.columns)], expected)
    none = "no difference above 1 point"
    assert list(found["verdict"]) == ["leans to the paper", "leans against", none, "not measured"]


def test_one_seed_is_open_and_says_so() -> None:
    claims = [claim(CAN, MAE, 9)]
    shown = table(claims, {"yours": judged(claims, Table({"top1": runs(can=[80], mae=[20, 21])}), "linear_probe")})
    assert shown.iloc[0].to_dict() == {
        "Claim": "title",
        "Where": "where",
        "Paper": "+9.0",
        "Yours": "+59.5 (one seed)",
        "Yours: verdict": "open",
    }


def test_a_claim_that_nobody_measures_has_no_line_and_one_that_one_source_measures_has() -> None:
    claims = [claim(CAN, MAE), claim(CAN, SIMCLR)]
    of_sources = {"published": runs(can=[80, 81], mae=[70, 71]), "yours": runs(can=[80])}
    sources = {source: judged(claims, Table({"top1": own}), "linear_probe") for source, own in of_sources.items()}
    shown = table(claims, sources)
    assert list(shown["Published: verdict"]) == ["leans to the paper"]
    assert list(shown["Yours: verdict"]) == ["not measured"] and shown["Yours"].isna().all()
    front = pd.DataFrame({"claim": [1, 2]})
    assert with_verdicts(front, {"yours": sources["yours"]}).empty


@pytest.mark.parametrize(
    ("points", "text"), [(1.25, "+1.2"), (-1.26, "−1.3"), (-0.04, "0.0"), (0.0, "0.0"), (0.051, "+0.1")]
)
def test_points_have_a_sign_unless_they_round_to_zero(points: float, text: str) -> None:
    assert signed(points) == text


def test_no_other_module_of_the_analysis_decides() -> None:
    """The quantiles that verdicts need are in one module; looks, agreement and intervals of means have their own."""
    folder = Path(orderings.__file__).parents[1]
    words = ("stdtr", "ndtr", "ttest", "scipy.stats")
    users = {
        path.name for path in folder.rglob("*.py") if any(word in path.read_text(encoding="utf-8") for word in words)
    }
    assert users == {"significance.py", "looks.py", "agreement.py", "drawing.py"}
