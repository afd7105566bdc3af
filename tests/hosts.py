"""The processes of one command, as several hosts start them: here on one machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

REPOSITORY = Path(__file__).resolve().parent.parent


class Hosts:
    """`count` processes that make what one command asks for, with `devices` simulated devices each; started at once.

    A context manager, which kills those that are left.

    Attributes:
      processes: by their number.
    """

    def __init__(
        self, folder: Path, count: int, script: str, *flags: str, devices: int = 1, of_second: tuple[str, ...] = ()
    ) -> None:
        """`folder`: what they say goes there. `of_second`: flags of all processes but the first."""
        self.folder, self.count = folder, count
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        simulated = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        self.processes = []
        for index in range(count):
            who = (f"--coordinator=localhost:{port}", f"--num_processes={count}", f"--process_id={index}")
            command = [sys.executable, str(REPOSITORY / "experiments" / script), *flags]
            command += [*(of_second if index else ()), *(who if count > 1 else ())]
            with self._file(index, "out").open("wb") as out, self._file(index, "err").open("wb") as err:
                environment = os.environ | {"XLA_FLAGS": simulated}
                self.processes.append(subprocess.Popen(command, stdout=out, stderr=err, cwd=folder, env=environment))

    def wait(self, seconds: float = 900) -> list[int | None]:
        """Their exit codes after at most so long; None for one that still runs."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and any(process.poll() is None for process in self.processes):
            time.sleep(0.05)
        return [process.poll() for process in self.processes]

    def wait_for_first(self, seconds: float = 900) -> None:
        """Returns when one of them has ended; fails if none does so long."""
        until = time.monotonic() + seconds
        while all(process.poll() is None for process in self.processes):
            assert time.monotonic() < until, [self.err(index)[-2000:] for index in range(self.count)]
            time.sleep(0.05)

    def wait_for(self, path: Path, seconds: float = 900) -> None:
        """Returns when `path` is there; fails if they end before."""
        until = time.monotonic() + seconds
        while not path.exists():
            ended = [process.poll() for process in self.processes]
            assert time.monotonic() < until and None in ended, (path, ended, self.err(0)[-2000:])
            time.sleep(0.05)

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
