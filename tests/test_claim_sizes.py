"""How often claims are decided where nothing differs: each at .03 to .055, each of the board's families under .05."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from invented import setting
from scipy import stats

from analysis.claims import CLAIMS
from analysis.lib.claims import Claim
from analysis.lib.design import Contrast, Design, design
from analysis.lib.equal_compute import contrasts
from analysis.lib.measures import Difference, EqualFlops, OverSets
from analysis.lib.multiplicity import benjamini_hochberg, holm
from analysis.lib.pools import LOSSES, Pool, PooledRuns
from analysis.lib.results import COLUMNS, Results
from analysis.lib.significance import average, difference, estimate
from can.commands.setting import PUBLISHED
from experiments.harness.declared import all_needs

TABLES = 20_000
LEVELS = 0.05 * 2.0 ** np.arange(-10, 4.25, 1 / 16)  # p is rounded up to one of them
OWN, OF_ROW, OF_ALL = 2.5e-5, 1.8e-5, 1.3e-5  # covariance over images of a run with itself, its row's, another row's
SEED, RUN = 0.3, 0.5  # points
Group = tuple[str, str, Pool]  # evaluation, metric or sets, pool


def specs_of(claim: Claim, runs: PooledRuns) -> list[Contrast]:
    """The contrasts that a claim is judged by; none of one that is not a matter of differences alone."""
    match claim.measure:
        case Difference(contrast):
            return [contrast]
        case EqualFlops(first, second):
            costs = ({row: runs.flops(row) for row in rows} for rows in (first, second))
            return [average(list(contrasts(*costs).values()))]
        case OverSets(above, below, equal=False):
            return [difference(above, other) for other in below]
    return []


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Claim, np.ndarray]]:
    """Of each contrast of a claim its p in many tables of three seeds, pooled as at `laptop`, where no row differs."""
    here = setting(tmp_path_factory.mktemp("none"), published_dir=PUBLISHED)
    runs = PooledRuns(Results(pd.DataFrame(columns=COLUMNS), [], [], []), "yours", here)
    groups: dict[Group, list[tuple[Claim, Contrast]]] = {}
    for claim in CLAIMS:
        for contrast in specs_of(claim, runs):
            what = claim.measure.metrics if isinstance(claim.measure, OverSets) else claim.measure.metric
            groups.setdefault((claim.measure.evaluation, what, Pool.of(contrast)), []).append((claim, contrast))
    rng = np.random.default_rng(0)
    found = []
    for (evaluation, _, pool), claims in groups.items():
        asked = {need.spec for need in all_needs() if pool.holds(need.spec) and evaluation in need.evals}
        rows = {row for _, contrast in claims for row in contrast}
        if evaluation != LOSSES:  # each of which a method or two have
            rows |= {row for row in asked if here.published(row, 0).results.exists()}
        names = sorted({runs.run_of(row) for row in rows})
        plan = design(np.repeat(names, 3).tolist(), [0, 1, 2] * len(names), [runs.of_runs(one) for _, one in claims])
        for claim, p in zip(
            (claim for claim, _ in claims), p_of(plan, len(names), evaluation != LOSSES, rng).T, strict=True
        ):
            found.append((claim, p))
    return found


def p_of(plan: Design, rows: int, accuracies: bool, rng: np.random.Generator) -> np.ndarray:
    """The p of each claim in each table, [tables, claims]: the least of LEVELS at which its interval leaves out 0."""
    shape = (TABLES, rows, 3)
    values = 50 + SEED * rng.standard_normal((TABLES, 1, 3)) + RUN * rng.standard_normal(shape)
    n, covariance = np.zeros(rows * 3, int), None
    if accuracies:
        values += 100 * np.sqrt(OF_ROW - OF_ALL) * rng.standard_normal((TABLES, rows, 1))
        n, same = n + 10_000, np.kron(np.eye(rows), np.ones((3, 3)))
        covariance = OF_ALL + (OF_ROW - OF_ALL) * same + (OWN - OF_ROW) * np.eye(rows * 3)
    difference, seed_variance, image_variance = estimate(plan, values.reshape(TABLES, -1), n, covariance)
    low, high = np.zeros(difference.shape, int), np.full(difference.shape, len(LEVELS) - 1)
    t = -stats.t.ppf(LEVELS[:, None].clip(max=1) / 2, plan.df)
    z = -stats.norm.ppf(LEVELS.clip(max=1) / 2)
    claims = np.arange(difference.shape[1])
    while (low < high).any():
        middle = (low + high) // 2
        outside = t[middle, claims] ** 2 * seed_variance + z[middle] ** 2 * image_variance < difference**2
        high, low = np.where(outside, middle, high), np.where(outside, low, np.minimum(middle + 1, high))
    return LEVELS[low].clip(max=1)


def test_each_claim_of_every_table_and_evaluation_errs_at_its_rate(simulated: list[tuple[Claim, np.ndarray]]) -> None:
    tables = {
        *(f"Table {number}" for number in range(1, 5)),
        *(f"Figure {number}" for number in (1, 4, 5, 6, 7, 8, 10)),
    }
    assert tables <= {claim.place for claim, _ in simulated}
    assert [
        (claim.text, size) for claim, p in simulated if not 0.03 < (size := float((p <= 0.05).mean())) < 0.055
    ] == []


def test_the_board_errs_in_less_than_a_twentieth(simulated: list[tuple[Claim, np.ndarray]]) -> None:
    primary = np.stack([p for claim, p in simulated if claim.primary], -1)
    # Above all rivals: the largest p decides.
    by_claim: dict[Claim, list[np.ndarray]] = {}
    for claim, p in simulated:
        if not claim.primary:
            by_claim.setdefault(claim, []).append(p)
    secondary = np.stack([np.max(ps, axis=0) for ps in by_claim.values()], -1)
    assert primary.shape[1] == 12 and secondary.shape[1] > 40
    errs = (holm(primary) <= 0.05).any(-1)
    wrong = (benjamini_hochberg(secondary) <= 0.05).any(-1)
    assert errs.mean() < 0.05 and wrong.mean() < 0.05  # looked at once, which errs as often as all planned looks
