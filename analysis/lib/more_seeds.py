"""How many claims more seeds would decide, if the differences are what was measured: what a reader's time would buy."""

from __future__ import annotations

import pandas as pd

from analysis.lib import significance
from analysis.lib.significance import UNDECIDED

SEEDS = (5, 10, 20, 50)


def decided(verdicts: pd.DataFrame, seeds: int) -> pd.Series:
    """Which claims would be decided by so many seeds a row, as bool; those about a row of one seed never are.

    `verdicts` is what `analysis.lib.significance.compare` returned, of which all claims are adjusted for together. The
    variance over seeds and that over test images stay as they were estimated.
    """
    tested = verdicts[verdicts["seeds"] >= 2]
    found = pd.Series(False, index=verdicts.index)
    if tested.empty:
        return found
    numbers = tested[["difference", "seed_variance", "image_variance", "df"]].to_numpy(float).T
    difference, seed_variance, image_variance, df = numbers
    had = tested["seeds"].to_numpy(float)
    p = significance.p_value(difference, seed_variance * had / seeds, image_variance, df * (seeds - 1) / (had - 1))
    found[tested.index] = significance.holm(p) < significance.ERROR_RATE
    return found


def in_words(verdicts: pd.DataFrame) -> str:
    """A sentence on the claims that are undecided with what there is; empty if there are none of two seeds or more."""
    open_claims = verdicts.index[(verdicts["verdict"] == UNDECIDED) & (verdicts["seeds"] >= 2)]
    if open_claims.empty:
        return ""
    (fewest, first), *others = [(seeds, decided(verdicts, seeds)[open_claims].sum()) for seeds in SEEDS]
    more = "".join(f", {seeds} seeds {count}" for seeds, count in others)
    return (
        f"If the differences are as measured, {fewest} seeds a row would decide {first} of the {len(open_claims)} "
        f"undecided claims{more}."
    )
