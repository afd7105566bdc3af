"""Kills a table at work with SIGKILL, at random moments, and compares it with one that nothing disturbs.

    python tests/kill_table.py --kills=20 --jobs=2

A table that comes to its end before the next kill is compared, and the next one begun. With several processes at work
all of them share one core: on the same number of cores numbers are the same to the bit, on others they round otherwise.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from can.system.files import read_json

TABLE = Path(__file__).resolve().parent.parent / "experiments" / "table2_jft.py"
OF_THE_MAKING = ("images_per_second",)  # columns of train.csv that no two trainings share


class Table:
    """A command that makes a smoke table in `folder`."""

    def __init__(self, folder: Path, jobs: int, rows: str) -> None:
        self.folder, self._jobs = folder, jobs
        self.command = [sys.executable, str(TABLE), "--scale=smoke", "--checkpoint_every=1", f"--jobs={jobs}"]
        self.command += [f"--rows={rows}", f"--results_dir={folder / 'results'}", f"--data_dir={folder / 'data'}"]
        self.command += [f"--workdir={folder / 'checkpoints'}"]

    def start(self) -> None:
        """Starts it, and returns once it works on a run or has ended."""
        core = {min(os.sched_getaffinity(0))} if self._jobs > 1 else None
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, core),
        )
        self.lines: list[str] = []
        self.working = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.working.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if line.startswith("["):  # "[1/13] can/vit_b/800 seed 0: ..."
                self.working.set()
        self.working.set()

    def finish(self, timeout: float | None = None) -> bool:
        """Whether the command and all of its processes ended within `timeout` seconds. Fails if they did in error."""
        self._reader.join(timeout)  # the pipe is closed when nobody is left who could write to it
        if self._reader.is_alive():
            return False
        if self.process.wait():
            sys.exit(f"the table ended with {self.process.returncode}:\n{''.join(self.lines)}")
        return True

    def kill(self, choose: random.Random) -> str:
        """Kills all processes at once, the one that started the others, or one of the others; says which."""
        workers = _workers(self.process.pid)
        victim = choose.choice(["all", "the parent", *(["a worker"] if workers else [])])
        if victim == "all":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            os.kill(self.process.pid if victim == "the parent" else choose.choice(workers), signal.SIGKILL)
        self._reader.join()  # those that are left end by themselves
        self.process.wait()
        return victim


def kill_table(folder: Path, undisturbed: Mapping[str, Any], *, kills: int, jobs: int, rows: str, seed: int = 0) -> int:
    """Kills `kills` times; returns how many tables were made meanwhile. Fails if one has other numbers.

    `undisturbed`: what `numbers` says of a table that nothing disturbed. Fails, too, if what a run has published is
    ever written again.
    """
    choose = random.Random(seed)
    table, tables, killed, longest = Table(folder, jobs, rows), 0, 0, 3.0
    kept: dict[Path, bytes] = {}
    while killed < kills or tables == 0:
        table.start()
        begun = time.monotonic()
        if killed < kills and not table.finish(choose.uniform(0, longest)):
            killed += 1
            print(f"kill {killed} of {kills}: {table.kill(choose)}, {time.monotonic() - begun:.1f} s at work")
        elif table.finish():
            longest = max(longest, time.monotonic() - begun)
            assert numbers(folder) == undisturbed, f"the numbers of {folder} differ"
            tables += 1
        for path, content in kept.items():
            assert path.read_bytes() == content, f"{path} was made twice"
        kept = {path: path.read_bytes() for name in ("provenance", "eval-*") for path in _published(folder, name)}
        if numbers(folder).keys() == undisturbed.keys() and killed < kills:
            kept.clear()
            shutil.rmtree(folder)
    return tables


def numbers(folder: Path) -> dict[str, Any]:
    """All numbers of a table's finished evaluations and of their trainings."""
    found: dict[str, Any] = {}
    for path in _published(folder, "eval-*"):
        evaluation = read_json(path)
        with (path.parent / "train.csv").open() as file:
            rows = [{k: v for k, v in row.items() if k not in OF_THE_MAKING} for row in csv.DictReader(file)]
        key = f"{path.parent.name}/{path.stem}"
        found[key] = [evaluation[part] for part in ("protocol", "fingerprints", "records")] + rows
    return found


def _published(folder: Path, name: str) -> list[Path]:
    return sorted((folder / "results" / "smoke").glob(f"*/{name}.json"))


def _workers(parent: int) -> list[int]:
    """The processes that `parent` started to make runs; none where the system does not say."""
    listed = Path(f"/proc/{parent}/task/{parent}/children")
    children = listed.read_text().split() if listed.exists() else []
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--rows", default="", help="of the table; default: all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        alone = Table(Path(folder) / "undisturbed", asked.jobs, asked.rows)
        alone.start()
        alone.finish()
        undisturbed = numbers(alone.folder)
        disturbed = Path(folder) / "disturbed"
        tables = kill_table(
            disturbed, undisturbed, kills=asked.kills, jobs=asked.jobs, rows=asked.rows, seed=asked.seed
        )
    print(f"{asked.kills} kills, {tables} tables of {len(undisturbed)} runs: all numbers equal, no run made twice")


if __name__ == "__main__":
    main()
