"""When a training saves its state."""

from __future__ import annotations

import time

from can.system import hosts


def multiple_of(unit: int, count: int) -> int:
    """`count`, rounded up to a multiple of `unit`."""
    return -(-count // unit) * unit


class CheckpointDue:
    """Whether a checkpoint is due: by steps, by the time since the last one, or because it is to be kept."""

    def __init__(self, steps: int, seconds: float | None = None, keep_every: int | None = None) -> None:
        self._steps, self._seconds, self._keep_every = steps, seconds, keep_every
        self._last = time.monotonic()

    def at(self, step: int) -> bool:
        """Whether to save at `step`; it counts as saved if so.

        Processes that train together ask at the same steps, and go by the first one's clock.
        """
        by_steps = step % self._steps == 0 or (self._keep_every is not None and step % self._keep_every == 0)
        due = by_steps or (self._seconds is not None and hosts.decided(self._is_late))
        if due:
            self._last = time.monotonic()
        return due

    def _is_late(self) -> bool:
        assert self._seconds is not None
        return time.monotonic() - self._last >= self._seconds
