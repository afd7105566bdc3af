"""Methods at equal floating-point operations: known answers on invented curves."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from analysis.lib import significance
from analysis.lib.equal_compute import contrasts


def test_between_two_lengths_the_other_curve_is_straight_in_log_flops() -> None:
    found = contrasts({"a": 20.0}, {"b": 10.0, "c": 40.0, "d": 160.0})
    assert found == {"a": pytest.approx({"a": 1, "b": -0.5, "c": -0.5})}  # 20 is halfway from 10 to 40 in log FLOPs
    (weights,) = contrasts({"a": 20.0}, {"b": 10.0, "c": 80.0}).values()
    assert weights == pytest.approx({"a": 1, "b": -2 / 3, "c": -1 / 3})


def test_at_a_measured_cost_the_measured_row_is_taken_and_nothing_is_extrapolated() -> None:
    second = {"b": 10.0, "c": 40.0}
    assert contrasts({"low": 9.9, "at": 10.0, "end": 40.0, "high": 40.1}, second) == {
        "at": {"at": 1, "b": -1},
        "end": {"end": 1, "c": -1},
    }
    assert contrasts({"a": 10.0}, {"b": 10.0}) == {}  # one length is no curve


def test_the_interval_has_the_errors_of_all_three_rows_by_their_weights() -> None:
    """Where test images have no error, the variance is (1 + share² + (1 - share)²) sd² / seeds."""
    noise = (-1.0, 0.0, 1.0)
    runs = pd.DataFrame(
        [
            (row, 10 * index + seed, base + noise[seed], 10**12)
            for index, (row, base) in enumerate((("a", 60.0), ("b", 40.0), ("c", 50.0)))
            for seed in range(3)
        ],
        columns=["row", "seed", "value", "n"],
    )
    (claim,) = contrasts({"a": 20.0}, {"b": 10.0, "c": 40.0}).values()
    found = significance.contrast(runs, [claim]).iloc[0]
    assert found["difference"] == pytest.approx(60 - 45)
    sd, t = 1.0, 2.447  # of 9 runs in 3 rows: 6 degrees of freedom
    assert found["high"] - found["difference"] == pytest.approx(t * sd * math.sqrt(1.5 / 3), rel=1e-3)
    assert found["verdict"] == "leans to the paper"
