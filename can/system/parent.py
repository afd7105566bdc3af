"""Processes that end with the one that started them."""

from __future__ import annotations

import functools
import multiprocessing
import os
import threading


@functools.cache
def end_with_parent() -> None:
    """Ends this process when the one that started it does, a killed one too: nobody would know what it still does.

    A process that Python's multiprocessing did not start stays. Once a process; later calls do nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
