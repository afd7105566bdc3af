"""Times of programs that take turns, so that a machine whose speed drifts is as fast for one as for the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Key = TypeVar("Key", bound=Hashable)
Program = Callable[[], object]  # one call does the work once; arrays that it returns are waited for

SHORTEST = 0.05  # seconds: quicker programs are called several times a measurement
MATMUL_SIZES = (1024, 1536, 2048, 3072)


class Summary(NamedTuple):
    """One program's times: the median, and the interquartile range."""

    median: float
    iqr: float


class Matmul(NamedTuple):
    """A square matrix product that this machine is fastest at."""

    size: int
    program: Program
    flops_per_second: float  # the best of a few calls

    @property
    def flops(self) -> int:
        """The operations of one call."""
        return 2 * self.size**3


def interleaved(programs: Mapping[Key, Program], rounds: int) -> dict[Key, np.ndarray]:
    """Seconds per call of each program in each round.

    In a round each program has one turn; every other round has them in the opposite order, so that none always follows
    the same one. An unmeasured turn comes first, and each turn begins with an unmeasured call: in training a step
    follows a step like it, and finds the memory and caches that this one has just used.
    """
    calls = {name: math.ceil(SHORTEST / _seconds(program, 1)) for name, program in programs.items()}
    seconds: dict[Key, list[float]] = {name: [] for name in programs}
    order = list(programs)
    for _ in range(rounds):
        for name in order:
            _seconds(programs[name], 1)
            seconds[name].append(_seconds(programs[name], calls[name]))
        order.reverse()
    return {name: np.array(values) for name, values in seconds.items()}


def summary(values: np.ndarray) -> Summary:
    """Median and interquartile range over rounds."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return Summary(float(median), float(high - low))


def best_matmul(dtype: str = "float32") -> Matmul:
    """The best of MATMUL_SIZES in a short trial: what "the machine's matmul peak" means here."""
    product = jax.jit(jnp.matmul)

    def of_size(size: int) -> Matmul:
        x = jnp.ones((size, size), dtype)

        def program() -> object:
            return product(x, x)

        jax.block_until_ready(program())
        return Matmul(size, program, 2 * size**3 / min(_seconds(program, 1) for _ in range(2)))

    return max(map(of_size, MATMUL_SIZES), key=lambda matmul: matmul.flops_per_second)


def _seconds(program: Program, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(program())
    return (time.perf_counter() - start) / calls
