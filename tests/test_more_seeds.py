"""What more seeds would decide, against scipy's t-test of the same variances."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from analysis.lib import more_seeds, significance

VALUES = {"a": [50.0, 51.0, 52.0], "b": [49.5, 50.0, 51.6], "c": [40.0, 41.0, 41.5], "d": [50.3, 50.9, 52.1]}
PAIRS = [("a", "b"), ("a", "c"), ("d", "a")]


def compared(values: dict[str, list[float]]) -> pd.DataFrame:
    """On so many images that these are no error; without seeds in common, so that rows are not paired."""
    lines = [
        (row, 10 * place + seed, value) for place, row in enumerate(values) for seed, value in enumerate(values[row])
    ]
    return significance.compare(pd.DataFrame(lines, columns=["row", "seed", "value"]).assign(n=10**9), PAIRS)


@pytest.mark.parametrize("seeds", [3, 8, 30, 1000])
def test_claims_are_decided_as_by_a_t_test_of_so_many_seeds(seeds: int) -> None:
    found = more_seeds.decided(compared(VALUES), seeds)
    variance = np.mean([np.var(values, ddof=1) for values in VALUES.values()])
    differences = np.array([np.mean(VALUES[above]) - np.mean(VALUES[below]) for above, below in PAIRS])
    p = 2 * stats.t.sf(np.abs(differences) / np.sqrt(2 * variance / seeds), len(VALUES) * (seeds - 1))
    assert found.tolist() == (significance.holm(p) < 0.05).tolist()


def test_the_sentence_counts_what_is_undecided_now() -> None:
    assert more_seeds.in_words(compared(VALUES)) == (
        "If the differences are as measured, 5 seeds a row would decide 0 of the 2 undecided claims, 10 seeds 0, "
        "20 seeds 0, 50 seeds 1."
    )
    assert more_seeds.in_words(compared({"a": [50, 50.1], "b": [40, 40.1], "c": [30, 30.1], "d": [60, 60.1]})) == ""
    one_seed = compared({name: values[:1] for name, values in VALUES.items()})
    assert more_seeds.in_words(one_seed) == "" and not more_seeds.decided(one_seed, 50).any()
