"""Kills one of the processes that make a table together, at random moments, and compares with an undisturbed table.

    python tests/faults/kill_hosts.py --kills=30 --processes=4

Each time: the others have to end within a minute, one of them has to name the lost one, and the same command has to go
on. At the end the numbers have to be those of the undisturbed table, to the bit. Prints a row for each kill.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))
from kill_table import numbers  # noqa: E402  behind the path

TABLE = TESTS.parent / "experiments" / "table2_jft.py"
ALL_END_S = 60.0
GOES_ON_S = 600.0


class Hosts:
    """The processes of one table, as so many hosts would start them."""

    def __init__(self, folder: Path, count: int, rows: str) -> None:
        self.folder, self.count = folder, count
        folder.mkdir(parents=True, exist_ok=True)
        self._command = [sys.executable, str(TABLE), "--scale=smoke", "--checkpoint_every=1", f"--rows={rows}"]
        self._command += [f"--results_dir={folder / 'results'}", f"--workdir={folder / 'checkpoints'}"]

    def start(self) -> None:
        """Starts them all."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        self.processes = []
        for index in range(self.count):
            who = [f"--coordinator=localhost:{port}", f"--num_processes={self.count}", f"--process_id={index}"]
            with self._log(index).open("wb") as log:
                self.processes.append(subprocess.Popen([*self._command, *who], stdout=log, stderr=subprocess.STDOUT))

    def wait(self, seconds: float) -> list[int | None]:
        """Their exit codes after at most so long; None for one that still runs."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and any(process.poll() is None for process in self.processes):
            time.sleep(0.1)
        return [process.poll() for process in self.processes]

    def words(self, index: int) -> str:
        """What a process said."""
        return self._log(index).read_text(errors="replace")

    def end(self) -> None:
        """Kills those that are left."""
        for process in self.processes:
            process.kill()
            process.wait()

    def _log(self, index: int) -> Path:
        return self.folder / f"{index}.log"


def kill_one(hosts: Hosts, choose: random.Random, longest: float) -> dict[str, object] | None:
    """Starts all and kills one at a random moment; what became of the others, or None if all were done before."""
    hosts.start()
    moment = choose.uniform(0, longest)
    codes = hosts.wait(moment)
    if None not in codes:
        return None
    victim, number = choose.randrange(hosts.count), choose.choice([signal.SIGKILL, signal.SIGTERM])
    hosts.processes[victim].send_signal(number)
    begun = time.monotonic()
    codes = hosts.wait(ALL_END_S)
    took = time.monotonic() - begun
    left = [index for index, code in enumerate(codes) if code is None]
    hosts.end()
    told = [index for index in range(hosts.count) if index != victim and _names(hosts.words(index), victim)]
    return {
        "signal": number.name,
        "process": victim,
        "after_s": round(moment, 1),
        "others_ended_s": round(took, 1),
        "still_running": left,
        "named_by": told,
        "exit_codes": codes,
    }


def _names(words: str, victim: int) -> bool:
    """Whether a process said which one is lost: JAX lists the tasks that stopped sending heartbeats."""
    return (
        re.search(rf"(heartbeats\)?:\n\s*(\d+\n)*{victim}\n)|task:{victim}\b|job:jax_worker.*:{victim}\b", words)
        is not None
    )


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rows", default="can/vit_b/800", help="of the table")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    choose = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        alone = Hosts(Path(folder) / "undisturbed", asked.processes, asked.rows)
        begun = time.monotonic()
        alone.start()
        codes = alone.wait(GOES_ON_S)
        alone.end()
        assert codes == [0] * asked.processes, [alone.words(index)[-2000:] for index in range(asked.processes)]
        longest, undisturbed = time.monotonic() - begun, numbers(alone.folder)
        print(f"undisturbed: {longest:.0f} s", flush=True)
        killed = round_ = 0
        while killed < asked.kills:
            hosts = Hosts(Path(folder) / f"disturbed-{round_}", asked.processes, asked.rows)
            while (row := kill_one(hosts, choose, longest)) is not None:
                killed += 1
                print(killed, row, flush=True)
                assert not row["still_running"], hosts.folder
                if killed == asked.kills:
                    break
            hosts.start()
            codes = hosts.wait(GOES_ON_S)
            hosts.end()
            assert codes == [0] * asked.processes, [hosts.words(index)[-2000:] for index in range(asked.processes)]
            assert numbers(hosts.folder) == undisturbed, f"the numbers of {hosts.folder} differ"
            print(f"table {round_}: all numbers equal", flush=True)
            round_ += 1


if __name__ == "__main__":
    main()
