"""When seeds are looked at, and how the looks share the 5 %: against published bounds, and simulated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from analysis.lib import looks

PLAN = looks.PLANNED["laptop"]


def test_the_bounds_are_those_of_lan_and_demets_for_three_equal_looks() -> None:
    """Spending as O'Brien and Fleming, two-sided at .05 (Jennison and Turnbull, 2000: 3.710, 2.511, 1.993)."""
    bounds = [-special.ndtri(looks.nominal(0.05, looks.shares(PLAN, seeds)) / 2) for seeds in PLAN]
    assert bounds == pytest.approx([3.710, 2.512, 1.993], abs=0.002)


@pytest.mark.parametrize("level", [0.05, 0.05 / 12, 0.2])
@pytest.mark.parametrize("plan", looks.PLANNED.values(), ids=looks.PLANNED)
def test_all_looks_together_err_as_often_as_was_asked(plan: tuple[int, ...], level: float) -> None:
    seeds = np.random.default_rng(0).standard_normal((200_000, plan[-1]))
    decided = np.zeros(len(seeds), bool)
    for look in plan:
        p = 2 * special.ndtr(-np.abs(seeds[:, :look].sum(1)) / np.sqrt(look))
        decided |= p < looks.nominal(level, looks.shares(plan, look))
    assert decided.mean() == pytest.approx(level, abs=4 * np.sqrt(level / len(seeds)))


def test_a_p_is_adjusted_to_the_level_at_which_its_look_would_decide_it() -> None:
    for seeds in (*PLAN, 4):  # a look that was not planned takes its share, too
        share = looks.shares(PLAN, seeds)
        assert looks.adjusted(looks.nominal(0.01, share), share) == pytest.approx(0.01, rel=1e-3)
        assert looks.adjusted(0.04, share) > 0.04
    assert looks.adjusted(0.04, looks.shares((), 3)) == 0.04  # a scale that is looked at once


def test_the_looks_at_fresh_seeds_are_what_is_left_of_the_plan() -> None:
    assert looks.planned("laptop") == (3, 6, 9) and looks.planned("laptop", 3) == (3, 6)
    assert looks.planned("evening") == (3, 5) and looks.planned("overnight") == ()
    assert [looks.is_fresh(*one) for one in (("laptop", 2), ("laptop", 3), ("evening", 0), ("evening", 1))] == [
        False,
        True,
        False,
        True,
    ]
