"""At which numbers of seeds a scale is looked at, and how the looks share the 5 % by which a claim may err.

Testing again at 5 % after seeds were added errs more often than 5 %. The spending function of Lan and DeMets (1983)
that resembles O'Brien and Fleming's says how much of a level may be used up at each look. What may be used there
follows from the joint distribution of the looks' test statistics, which is that of a Brownian motion. A p-value is
turned into the smallest level at which its look would decide it. That one is then adjusted for other claims, by Holm's
or Benjamini and Hochberg's rule (Maurer and Bretz, 2013).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import special

PLANNED = {"laptop": (3, 6, 9), "evening": (3, 5)}  # seeds a row; other scales are looked at once
SEEN = {"laptop": (0, 1, 2), "evening": (0,)}  # seeds that were seen before the rules were made
_GRID = np.linspace(-8, 8, 801)  # of a test statistic
_LEVELS = np.geomspace(1e-10, 0.999, 80)


def is_fresh(scale: str, seed: int) -> bool:
    """Whether a seed was run after the rules were made."""
    return seed not in SEEN.get(scale, ())


def planned(scale: str, without: int = 0) -> tuple[int, ...]:
    """The numbers of seeds at which a scale is looked at; where so many of a row's are not fresh, of the others."""
    return tuple(seeds - without for seeds in PLANNED.get(scale, ()) if seeds > without)


def shares(plan: Sequence[int], seeds: int) -> tuple[float, ...]:
    """The share of the planned seeds at each look up to that of `seeds`; (1,) without a plan."""
    if not plan or seeds < 1:
        return (1.0,)
    taken = [look for look in plan if look < min(seeds, plan[-1])]
    return tuple(look / plan[-1] for look in (*taken, min(seeds, plan[-1])))


def adjusted(p: float, looks: Sequence[float]) -> float:
    """The smallest level of all looks together at which a two-sided `p` at the last of them is decided."""
    if len(looks) == 1 and looks[0] == 1:
        return p
    return float(np.exp(np.interp(np.log(max(p, 1e-300)), np.log(_nominal(tuple(looks))), np.log(_LEVELS))))


def nominal(level: float, looks: Sequence[float]) -> float:
    """The two-sided level of the last look, where all of them together have `level`."""
    return float(np.exp(np.interp(np.log(level), np.log(_LEVELS), np.log(_nominal(tuple(looks))))))


def spent(level: Float[np.ndarray, " levels"], share: float) -> Float[np.ndarray, " levels"]:
    """How much of a two-sided level is used up when this share of the seeds is there; the half of it on each side."""
    return 4 * special.ndtr(special.ndtri(level / 4) / np.sqrt(share))


@functools.cache
def _nominal(looks: tuple[float, ...]) -> Float[np.ndarray, " levels"]:
    """By recursion over the looks (Armitage, McPherson and Rowe, 1969): the last one's level for each of `_LEVELS`."""
    width, middle = _GRID[1] - _GRID[0], _GRID.size // 2
    used = np.zeros_like(_LEVELS)
    bounds, density = np.empty_like(_LEVELS), np.empty((_LEVELS.size, _GRID.size))
    for number, share in enumerate(looks):
        may_use = spent(_LEVELS, share) - used
        used = used + may_use
        if number == 0:
            bounds = -special.ndtri(may_use / 2)
            density[:] = np.exp(-(_GRID**2) / 2) / np.sqrt(2 * np.pi)
            continue
        inside = np.where(np.abs(_GRID) < bounds[:, None], density, 0)
        density = inside @ _step(looks[number - 1], share).T
        # The share of the density that lies beyond each point, on both sides.
        tail = density[:, ::-1] * width
        beyond = 2 * (np.cumsum(tail, axis=1) - tail / 2)[:, :middle]
        bounds = np.array([np.interp(use, far, _GRID[::-1][:middle]) for use, far in zip(may_use, beyond, strict=True)])
    return np.maximum.accumulate(np.maximum(2 * special.ndtr(-bounds), 1e-300))


@functools.cache
def _step(before: float, now: float) -> Float[np.ndarray, "now before"]:
    """The transition of the test statistic from one look to the next, whose increments are independent."""
    scale, gain = np.sqrt(now), now - before
    distance = (scale * _GRID[:, None] - np.sqrt(before) * _GRID[None, :]) / np.sqrt(gain)
    return np.exp(-(distance**2) / 2) / np.sqrt(2 * np.pi) * (scale / np.sqrt(gain)) * (_GRID[1] - _GRID[0])
