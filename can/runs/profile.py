"""A trace of some steps of a training, and where their time went."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from jax.profiler import ProfileData

from can.errors import DataError
from can.system import hosts

SHOWN = 12  # kinds of operations


class Operation(NamedTuple):
    """One execution of a compiled operation, in nanoseconds; on a CPU, of one thread."""

    name: str
    start: float
    end: float


class Profile:
    """Traces the steps from the first to the last, as train.csv counts them, into `folder`; None traces nothing."""

    def __init__(self, steps: tuple[int, int] | None, folder: Path) -> None:
        self._first, self._last = steps or (0, 0)
        self._folder = folder
        self._begun: float | None = None

    def before(self, step: int, state: Any) -> None:
        """Begins the trace before `step`, counted from 0, if it is the first one; the device has then nothing to do."""
        if step + 1 == self._first:
            jax.block_until_ready(state)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # which would slow the host down
            jax.profiler.start_trace(self._folder, profiler_options=options)
            self._begun = time.perf_counter()

    def after(self, done: int, state: Any) -> None:
        """Ends the trace behind the last step, when the device is done with it, and logs where the time went."""
        if self._begun is not None and done >= self._last:
            jax.block_until_ready(state)
            seconds, self._begun = time.perf_counter() - self._begun, None
            jax.profiler.stop_trace()
            if hosts.is_first():
                logging.info("%s", _table(self._folder, seconds, self._first, self._last))

    def close(self) -> None:
        """Ends a trace that was begun, where training ends before its last step."""
        if self._begun is not None:
            self._begun = None
            jax.profiler.stop_trace()
            logging.warning("training ended before step %d, the last one of the trace in %s", self._last, self._folder)


def operations(trace: Path) -> list[list[Operation]]:
    """The compiled operations in a trace, by thread or stream. Raises DataError if it cannot be read."""
    try:
        data = ProfileData.from_file(str(trace))
        found = []
        for plane in data.planes:
            for line in plane.lines:
                if ops := [
                    Operation(event.name, event.start_ns, event.start_ns + event.duration_ns)
                    for event in line.events
                    if any(name == "hlo_op" for name, _ in event.stats)
                ]:
                    found.append(ops)
    except Exception as error:  # the parser of protocol buffers raises whatever it happens upon
        raise DataError(f"the trace {trace} cannot be read ({error}): make it again") from error
    return found


def own_time(lines: Iterable[Iterable[Operation]]) -> dict[str, float]:
    """Nanoseconds by kind of operation, `fusion.12` as `fusion`, without what is called inside another one."""
    found: dict[str, float] = defaultdict(float)
    for line in lines:
        open_: list[Operation] = []
        for op in sorted(line, key=lambda op: (op.start, -op.end)):
            while open_ and open_[-1].end <= op.start:
                open_.pop()
            if open_:
                found[_kind(open_[-1].name)] -= op.end - op.start
            found[_kind(op.name)] += op.end - op.start
            open_.append(op)
    return dict(found)


def busy_time(lines: Iterable[Iterable[Operation]]) -> float:
    """Nanoseconds in which at least one operation ran."""
    total, until = 0.0, float("-inf")
    for op in sorted((op for line in lines for op in line), key=lambda op: op.start):
        total += max(0.0, op.end - max(op.start, until))
        until = max(until, op.end)
    return total


def _kind(name: str) -> str:
    return re.sub(r"[._]\d+$", "", name)


def _table(folder: Path, seconds: float, first: int, last: int) -> str:
    """Where the time of the steps went, line by line."""
    traces = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    lines = operations(traces[-1])
    own = sorted(own_time(lines).items(), key=lambda entry: -entry[1])
    whole, count = sum(share for _, share in own) or 1, last - first + 1
    idle = max(0.0, 1 - busy_time(lines) / 1e9 / seconds)
    head = f"steps {first} to {last}: {1000 * seconds / count:.1f} ms a step, {idle:.0%} of it without any operation"
    others = own[SHOWN:]
    shown = own[:SHOWN] + ([(f"{len(others)} other kinds", sum(share for _, share in others))] if others else [])
    rows = [f"  {share / whole:6.1%}  {share / 1e6 / count:9.2f} ms  {kind}" for kind, share in shown]
    told = f"the trace is in {folder}: xprof --logdir={folder}, or tensorboard"
    return "\n".join([head, "of all operations, a step:", *rows, told])
