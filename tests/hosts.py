"""The processes of one command, as several hosts start them: here on one machine."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from experiments.benchmarks.memory import simulating

REPOSITORY = Path(__file__).resolve().parent.parent


class Hosts:
    """`count` processes that make what one command asks for, with `devices` simulated devices each; started at once.

    A context manager, which kills those that are left.

    Attributes:
      processes: by their number.
      port: of the first, where all meet.
    """

    def __init__(
        self, folder: Path, count: int, script: str, *flags: str, devices: int = 1, of_second: tuple[str, ...] = ()
    ) -> None:
        """`folder`: what they say goes there. `of_second`: flags of all processes but the first."""
        self.folder, self.count = folder, count
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("localhost", 0))
            self.port = free.getsockname()[1]
        self.processes = []
        for index in range(count):
            who = (f"--coordinator=localhost:{self.port}", f"--num_processes={count}", f"--process_id={index}")
            command = [sys.executable, str(REPOSITORY / "experiments" / script), *flags]
            command += [*(of_second if index else ()), *(who if count > 1 else ())]
            with self._file(index, "out").open("wb") as out, self._file(index, "err").open("wb") as err:
                self.processes.append(
                    subprocess.Popen(command, stdout=out, stderr=err, cwd=folder, env=simulating(devices))
                )

    def wait(self, seconds: float = 900) -> list[int | None]:
        """Their exit codes after at most so long; None for one that still runs."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and None in self._codes():
            time.sleep(0.05)
        return self._codes()

    def wait_until(self, happened: Callable[[], bool], seconds: float = 900) -> None:
        """Returns when it has happened; fails after so long, or if all end before."""
        until = time.monotonic() + seconds
        while True:
            running = None in self._codes()  # asked first: it may happen in the last moment of the last of them
            if happened():
                return
            assert running and time.monotonic() < until, self._all_told()
            time.sleep(0.05)

    def wait_for_first(self) -> None:
        """Returns when one of them has ended."""
        self.wait_until(lambda: self._codes() != [None] * self.count)

    def _all_told(self) -> list[str]:
        return [self.err(index)[-2000:] for index in range(self.count)]

    def _codes(self) -> list[int | None]:
        return [process.poll() for process in self.processes]

    def signal(self, index: int, number: signal.Signals) -> None:
        """Sends one of them a signal."""
        self.processes[index].send_signal(number)

    def out(self, index: int) -> str:
        """What a process wrote of its results; JAX's CPU backend also says there that the processes are connected."""
        lines = self._file(index, "out").read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith("[Gloo]"))

    def err(self, index: int) -> str:
        """What a process said of its progress and its end."""
        return self._file(index, "err").read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def _file(self, index: int, ending: str) -> Path:
        return self.folder / f"{index}.{ending}"
