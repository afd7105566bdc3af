"""What the planned looks would decide, against scipy's t-test of the same variances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from invented import Table
from scipy import stats

from analysis.lib import looks, more_seeds
from analysis.lib.claims import Claim, Judged, board
from analysis.lib.measures import Difference
from analysis.lib.multiplicity import holm
from analysis.lib.significance import difference
from can.commands.spec import Spec

A, B, C, D = (Spec("can", "vit_b", "in1k", epochs) for epochs in (1, 2, 3, 4))
VALUES = {A: [50.0, 51.0, 52.0], B: [49.5, 50.0, 51.6], C: [40.0, 41.0, 41.5], D: [50.3, 50.9, 52.1]}
PAIRS = [(A, B), (A, C), (D, A)]
PLAN = (3, 8, 1000)


def judged(values: dict[Spec, list[float]]) -> list[Judged]:
    """On so many images that these are no error; without seeds in common, so that rows are not paired."""
    lines = [
        (row, 10 * place + seed, value) for place, row in enumerate(values) for seed, value in enumerate(values[row])
    ]
    runs = Table({"top1": pd.DataFrame(lines, columns=["row", "seed", "value"]).assign(n=10**9)})
    pairs = enumerate(PAIRS, 1)
    return board([Claim("", "", "", Difference(difference(*pair)), primary=number) for number, pair in pairs], runs)


@pytest.mark.parametrize("seeds", PLAN)
def test_claims_are_decided_as_by_a_t_test_of_so_many_seeds_at_the_level_of_their_look(seeds: int) -> None:
    variance = np.mean([np.var(values, ddof=1) for values in VALUES.values()])
    differences = np.array([np.mean(VALUES[above]) - np.mean(VALUES[below]) for above, below in PAIRS])
    p = 2 * stats.t.sf(np.abs(differences) / np.sqrt(2 * variance / seeds), len(VALUES) * (seeds - 1))
    adjusted = np.array([looks.adjusted(one, looks.shares(PLAN, seeds)) for one in p])
    assert more_seeds.decided(judged(VALUES), PLAN, seeds) == (holm(adjusted) < 0.05).sum()


def test_the_sentence_speaks_of_the_looks_to_come() -> None:
    assert more_seeds.in_words(judged(VALUES), PLAN) == (
        "If the differences are as measured, 1 with 8 seeds a row and 3 with 1000 seeds a row would be decided."
    )
    assert more_seeds.in_words(judged(VALUES), (3,)) == ""
    one_seed = judged({row: values[:1] for row, values in VALUES.items()})
    assert more_seeds.in_words(one_seed, PLAN) == "" and more_seeds.decided(one_seed, PLAN, 1000) == 0
