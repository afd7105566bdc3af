"""How far something is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

from can.system import hosts

QUIET_INTERVAL_S = 30.0  # between two lines where stderr is not a terminal


class ProgressLine:
    """Of `total` steps, of which `start` are done, with what is measured, and the time left.

    `what` stands in front of it. A `patient` one shows nothing of what is done before the first line would be due. Of
    several processes that work together, the first alone shows it. A context manager, which ends the bar.
    """

    def __init__(
        self, total: int, start: int = 0, *, what: str = "", unit: str = "step", patient: bool = False
    ) -> None:
        self._total, self._what, self._unit = total, what, unit
        self._bar = (
            tqdm(total=total, initial=start, desc=what or None, unit=f" {unit}s", dynamic_ncols=True, leave=not patient)
            if sys.stderr.isatty() and hosts.is_first()
            else None
        )
        self._first: tuple[int, float] | None = None  # step and time of the first call, which compilation delayed
        self._shown = not patient
        self._last_line = time.monotonic() if patient else float("-inf")

    def show(self, step: int, *measured: str) -> None:
        """`step` are done; `measured` are texts, of which empty ones are left out."""
        if not hosts.is_first():
            return
        if self._bar is not None:
            self._bar.set_postfix_str(" ".join(filter(None, measured)), refresh=False)
            self._bar.update(step - self._bar.n)
            return
        now = time.monotonic()
        if self._first is None:
            self._first = step, now
        if (step < self._total or not self._shown) and now - self._last_line < QUIET_INTERVAL_S:
            return
        self._last_line, self._shown = now, True
        head = f"{self._what}{': ' if self._what else ''}{self._unit} {step}/{self._total}"
        parts = [head, *measured, self._time_left(step, now)]
        print(", ".join(part for part in parts if part), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _time_left(self, step: int, now: float) -> str:
        assert self._first is not None
        first_step, first_time = self._first
        if step in (first_step, self._total):
            return ""
        seconds = (self._total - step) * (now - first_time) / (step - first_step)
        return f"{tqdm.format_interval(seconds)} left"
