"""What the steps since the last row of the log measured: on the device while it trains, and in its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from can.sharding import put_copies

Metrics = dict[str, float]


class Row:
    """The steps that the next row of the log is the mean of.

    They are kept one by one, as a mean of numbers of the host does not round as a sum on the device does.

    Attributes:
      values: by metric, what the row's steps measured, in their order; the host need not have waited for it. Of several
        seeds in one program, a second axis counts them.
    """

    def __init__(
        self,
        log_every: int,
        start_step: int,
        saved: Mapping[str, Float[Array, "steps ..."] | Float[np.ndarray, "steps ..."]],
        mesh: jax.sharding.Mesh,
    ) -> None:
        """Begins a row for a training at `start_step`, with what `to_save` gave for its checkpoint."""
        before = max((len(values) for values in saved.values()), default=0)
        self._first = start_step - before
        # Rows end at multiples of `log_every`, which may have been another number before the stop.
        self._length, self._mesh = max(log_every, before + -start_step % log_every), mesh
        self.values: dict[str, Float[Array, "length ..."]] = put_copies(
            {name: _longer(values, self._length) for name, values in saved.items()}, mesh
        )

    def add(self, step: int, metrics: Mapping[str, Float[Array, ...]]) -> None:
        """Takes what a step measured, counted from 0; the host does not wait for it."""
        if not self.values:
            self.values = put_copies(
                {name: np.zeros((self._length, *entry.shape), np.float32) for name, entry in metrics.items()},
                self._mesh,
            )
        self.values = _with(self.values, np.int32(step - self._first), dict(metrics))

    def steps(self, values: Mapping[str, Float[np.ndarray, " length"]], done: int) -> list[Metrics]:
        """The metrics of each of the row's steps up to `done`; `values` are those of the device, fetched."""
        fetched = {name: entry.tolist() for name, entry in values.items()}
        return [{name: entry[place] for name, entry in fetched.items()} for place in range(done - self._first)]

    def end(self, done: int) -> None:
        """The next row begins behind the steps that are `done`."""
        self._first = done

    def to_save(
        self, values: Mapping[str, Float[np.ndarray, " length"]], done: int
    ) -> dict[str, Float[np.ndarray, " steps"]]:
        """The part of a checkpoint with which the row goes on; nothing where a row has just ended."""
        count = done - self._first
        return {name: np.array(entry[:count]) for name, entry in values.items()} if count else {}


@partial(jax.jit, donate_argnums=0)
def _with(
    values: dict[str, Float[Array, "length ..."]],
    place: Int[np.ndarray, ""] | Int[Array, ""],
    metrics: dict[str, Array],
) -> dict[str, Float[Array, "length ..."]]:
    return {name: entry.at[place].set(jnp.asarray(metrics[name], entry.dtype)) for name, entry in values.items()}


def _longer(values: Float[Array, "steps ..."] | Float[np.ndarray, "steps ..."], length: int) -> np.ndarray:
    whole = np.zeros((length, *values.shape[1:]), np.float32)
    whole[: len(values)] = values
    return whole


def mean_metrics(rows: Sequence[Metrics]) -> Metrics:
    """The mean of each metric over steps."""
    return {name: float(np.mean([row[name] for row in rows], dtype=np.float64)) for name in rows[0]}
