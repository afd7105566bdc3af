"""What a claim is as a function of the runs of a table, and what the model of `significance.py` leaves unexplained."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Contrast = Mapping[Hashable, float]  # weights of rows, which sum to 0


@dataclass(frozen=True)
class Design:
    """What claims are as functions of the runs of a table. It depends on who ran which seed, not on results."""

    weights: Float[np.ndarray, "claims runs"]  # of the values of the runs in the difference
    noise: Float[np.ndarray, "2 runs runs"]  # takes values to what is unexplained if claims are not paired, or are
    residuals: Int[np.ndarray, " claims"]  # dimensions of that
    df: Int[np.ndarray, " claims"]  # degrees of freedom of the pooled variance
    paired: Bool[np.ndarray, " claims"]
    contrasts: Float[np.ndarray, "claims rows"]
    means: Float[np.ndarray, "rows runs"]  # takes values to the means of rows
    images: Float[np.ndarray, "claims runs runs"]  # weights of the runs' covariances over images in the image variance


def design(rows: Sequence[Hashable], seeds: Sequence[int], claims: Sequence[Contrast]) -> Design:
    """The design of claims about a table whose runs have these rows and seeds; each row in a claim has two or more."""
    who = _Who.of(rows, seeds)
    contrasts = np.array([[claim.get(row, 0.0) for row in who.place] for claim in claims])
    assert np.allclose(contrasts.sum(1), 0), "the weights of a contrast sum to 0"
    fit, mean, free = np.linalg.pinv(who.both), who.mean, np.eye(len(rows))
    rank = int(np.linalg.matrix_rank(who.both))
    freedom = len(rows) - rank
    shared = who.in_row.T @ who.has_seed @ who.has_seed.T @ who.in_row  # [rows, rows]
    apart = (shared < 2).astype(float)  # [rows, rows]
    involved = (contrasts != 0).astype(float)
    paired = np.einsum("cr,rq,cq->c", involved, apart, involved) == 0  # then `freedom` is at least 1

    # Covariances over images between runs of different seeds are what more seeds do not reduce. The covariances of a
    # run with itself, and of two runs of one seed, are in the variance over seeds already.
    differ = 1 - who.has_seed @ who.has_seed.T  # [runs, runs]
    pairs = who.in_row.T @ differ @ who.in_row  # [rows, rows]
    share = differ / np.maximum(who.in_row @ pairs @ who.in_row.T, 1)
    by_run = contrasts @ who.in_row.T  # [claims, runs]
    return Design(
        weights=np.where(paired[:, None], contrasts @ fit[: len(who.place)], contrasts @ mean),
        noise=np.stack([free - who.in_row @ mean, free - who.both @ fit]),
        residuals=np.where(paired, freedom, len(rows) - len(who.place)),
        # A seed's effect on many rows is one deviation: of the squares within rows, no more than these are independent.
        # They are the usual runs - rows if no two rows share a seed.
        df=np.where(paired, freedom, rank - len(who.place)),
        paired=paired,
        contrasts=contrasts,
        means=mean,
        images=by_run[:, :, None] * by_run[:, None, :] * share,
    )


class _Who(NamedTuple):
    """Which row and which seed each run of a table has."""

    in_row: Float[np.ndarray, "runs rows"]
    has_seed: Float[np.ndarray, "runs seeds"]
    place: dict[Hashable, int]  # of a row

    @classmethod
    def of(cls, rows: Sequence[Hashable], seeds: Sequence[int]) -> _Who:
        (row_at, names), (seed_at, numbers) = factorize(rows), factorize(seeds)
        places = {name: place for place, name in enumerate(names)}
        return cls(np.eye(len(names))[row_at], np.eye(len(numbers))[seed_at], places)

    @property
    def both(self) -> Float[np.ndarray, "runs rows+seeds"]:
        """The design matrix of value = row + seed."""
        return np.concatenate([self.in_row, self.has_seed], axis=1)

    @property
    def mean(self) -> Float[np.ndarray, "rows runs"]:
        """Takes values to the means of rows."""
        return self.in_row.T / self.in_row.sum(0)[:, None]


def factorize(values: Sequence[Hashable]) -> tuple[np.ndarray, list[Hashable]]:
    """The place of each value among the distinct ones, and these, in the order of their first appearance."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return np.array([places[value] for value in values], int), list(places)
