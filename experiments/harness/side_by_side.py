"""Processes side by side, each on processor cores of its own.

A step of a small model has parts that run on one core while the others wait (docs/performance.md); runs that each have
a core to themselves leave none waiting.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import TracebackType
from typing import Any, Self

from can.commands import environment
from can.errors import ConfigError, UserError
from can.system.machine import usable_cpus
from can.system.parent import end_with_parent


def check_jobs(count: int) -> None:
    """Raises ConfigError for less than one process, and for more than one where there is an accelerator."""
    if count < 1:
        raise ConfigError(f"--jobs must be at least 1, not {count}")
    if count > 1 and environment.HAS_ACCELERATOR:
        raise ConfigError(f"--jobs={count} is for CPUs: an accelerator serves one process at a time")


class Processes:
    """`count` processes that split the cores of this one among themselves; a context manager, which ends them.

    What they call and are given is pickled, so functions must be those of a module. They are started anew, not forked,
    with the same command line; what else they share with this process, `begin`, called first in each, has to bring
    about. Where a system cannot tie a process to cores, each is only told how many threads to take.

    Raises ConfigError as `check_jobs` does.
    """

    def __init__(self, count: int, begin: Callable[[], None]) -> None:
        check_jobs(count)
        context = multiprocessing.get_context("spawn")
        before = set(multiprocessing.active_children())
        self._pools = [
            ProcessPoolExecutor(1, mp_context=context, initializer=_begin, initargs=(begin,)) for _ in range(count)
        ]
        for place, pool in enumerate(self._pools):
            with _share_of_cores(place, count):
                pool.submit(os.getpid)  # a pool starts its process at the first call
        self._started = set(multiprocessing.active_children()) - before

    def each(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Calls `function` in all processes at the same time; what each returned. Raises what one of them raises."""
        return [_result(future) for future in [pool.submit(function, *arguments) for pool in self._pools]]

    def map_unordered(self, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """`function(*call)` for each of `calls`, begun in their order by the process that is idle first.

        Yields results as they come. Raises what a call raises, and begins no other then.
        """
        waiting, idle = deque(calls), deque(self._pools)
        running: dict[Future[Any], ProcessPoolExecutor] = {}

        def begin_next() -> None:
            while waiting and idle:
                pool = idle.popleft()
                running[pool.submit(function, *waiting.popleft())] = pool

        begin_next()
        while running:
            done = wait(running, return_when=FIRST_COMPLETED).done
            results = [_result(future) for future in done]
            idle.extend(running.pop(future) for future in done)
            begin_next()
            yield from results

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started:
            process.terminate()
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)


def _begin(begin: Callable[[], None]) -> None:
    end_with_parent()
    begin()


@contextmanager
def _share_of_cores(place: int, count: int) -> Iterator[None]:
    """Processes that are started meanwhile have the cores of `place`, one of `count`, and leave Ctrl-C to this one."""
    told, cpus = os.environ.get("NPROC"), usable_cpus()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    # The processes inherit that Ctrl-C is blocked; for this one it only waits until they are started.
    resource_tracker.ensure_running()  # which unblocks it when it begins
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    os.environ["NPROC"] = str(len(range(place, cpus, count)) or cpus)
    try:
        if cores is not None:
            # Every `count`-th: of cores with two threads, Linux usually counts the second ones behind all first ones.
            os.sched_setaffinity(0, sorted(cores)[place::count] or cores)
        yield
    finally:
        del os.environ["NPROC"]
        if told is not None:
            os.environ["NPROC"] = told
        if cores is not None:
            os.sched_setaffinity(0, cores)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a process ended without a word, as those do that the system kills for lack of memory: the same command "
            "goes on from the last checkpoint, with --jobs=1 it needs the least memory"
        ) from error
