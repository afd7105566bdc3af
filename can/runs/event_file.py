"""Scalars for TensorBoard."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from can.system.files import write_error


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Within it, importing a module that is not imported yet fails, as if it were not installed."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # so Python itself marks what cannot be imported
    try:
        yield
    finally:
        del sys.modules[module]


# Where torch is installed, tensorboardX imports it, which takes seconds. Scalars do not need it.
with _without("torch"):
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.summary_pb2 import Summary


class EventFile:
    """An event file in `folder` for a training that goes on after `resume_step`.

    The calling thread writes it. tensorboardX's SummaryWriter has a thread of its own for that, which dies when the
    disk is full and leaves the training loop waiting on its queue for ever; its EventsWriter raises instead.
    """

    def __init__(self, folder: Path, resume_step: int) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Without a suffix, a log that is opened again within a second would overwrite the first one's file.
            self._writer = EventsWriter(str(folder / "events"), filename_suffix=f".{time.time_ns()}")
            start = SessionLog(status=SessionLog.START)  # TensorBoard forgets earlier events from this step on
            self._writer.write_event(Event(step=resume_step + 1, wall_time=time.time(), session_log=start))
            self._writer.flush()
        except OSError as error:
            raise write_error(folder, error) from error

    def write(self, step: int, row: dict[str, float]) -> None:
        """Logs the scalars of a step, at once. Raises UserError if the disk is full."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in row.items()]
        try:
            self._writer.write_event(Event(step=step, wall_time=time.time(), summary=Summary(value=values)))
            self._writer.flush()
        except OSError as error:
            raise write_error(self._folder, error) from error

    def close(self) -> None:
        """Ends the file."""
        with contextlib.suppress(OSError):  # each row was flushed: only what already failed can fail again
            self._writer.close()
