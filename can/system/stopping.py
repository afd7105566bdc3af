"""Signals that ask a process to stop: training saves its state first, and a second signal ends it at once."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN_S = 0.1
GRACE_S = 20  # in which one of several processes ends
STDERR = 2


class Stopped(KeyboardInterrupt):
    """A signal asked this process to stop; its text says what is saved, if anything.

    Attributes:
      number: of the signal.
    """

    def __init__(self, number: int = signal.SIGINT, saved: str = "") -> None:
        super().__init__(saved)
        self.number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.number, str(self))


def raise_stopped(number: int, frame: FrameType | None = None) -> None:
    """A handler of signals that ends what is going on with `Stopped`.

    One of several processes ends in any case, and shows where it was: what it has to leave may wait for the others.
    """
    del frame
    if jax.distributed.is_initialized():
        # To the file itself: what stands in for it marks the lines of this process, and has no number.
        faulthandler.dump_traceback_later(GRACE_S, exit=True, file=STDERR)
    raise Stopped(number)


def handle(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> dict[int, Any]:
    """Gives the signals a handler, except those that are ignored, as behind `nohup`; the handlers before.

    Only the main thread can; in others nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    here = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in here}


def _give_back(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Within, the signals end the process without a word: for calls outside Python, which hold its handlers up."""
    before = handle(signal.SIG_DFL)
    try:
        yield
    finally:
        _give_back(before)


def send_lost_signals_again() -> None:
    """From now on, a signal comes again if its `Stopped` is raised where Python drops errors.

    It drops those of finalisers and of the garbage collector's callbacks, of which JAX has one.
    """
    otherwise = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, Stopped):
            otherwise(lost)
            return
        # At once it would be dropped too, with the errors of this hook.
        later = threading.Timer(_AGAIN_S, os.kill, (os.getpid(), lost.exc_value.number))
        later.daemon = True
        later.start()

    sys.unraisablehook = hook


class StopRequests:
    """Notes signals while it is entered, once there is something that is worth saving (`hold`).

    A second signal is not held up.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._noted: int | None = None
        self._holds = False

    def hold(self) -> None:
        """From now on, the next signal is noted; before, it raises `Stopped`."""
        self._holds = True

    def noted(self, all_look: bool) -> int | None:
        """The signal that was noted, if any.

        Processes that train together stop at the same step: there, a signal counts when all of them look.
        """
        if jax.process_count() == 1:
            return self._noted
        if not all_look:
            return None
        numbers = multihost_utils.process_allgather(np.array(self._noted or 0, np.int32))
        return int(numbers.max()) or None

    def __enter__(self) -> StopRequests:
        self._before = handle(self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _give_back(self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._holds or self._noted is not None:
            raise_stopped(number)
        self._noted = number
