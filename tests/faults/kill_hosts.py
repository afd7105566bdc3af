"""Kills one of the processes that make a table together, at random moments, and compares with an undisturbed table.

    python tests/faults/kill_hosts.py --kills=30 --processes=4

Each time: the others have to end within a minute, one of them has to name the lost one, and the same command has to go
on. At the end the numbers have to be those of the undisturbed table, to the bit. Prints a row for each kill.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from hosts import REPOSITORY, Hosts  # noqa: E402  behind the path
from kill_table import numbers  # noqa: E402

from experiments.benchmarks import measurement  # noqa: E402

ALL_END_S = 60.0
GOES_ON_S = 600.0
MET = "[1/1]"  # what the first process says of the table's only row
MADE = "| CAN "  # and what it prints when that is made


def table(folder: Path, count: int, rows: str) -> Hosts:
    """Starts the processes of a table in this folder, or starts them again."""
    flags = ["--scale=smoke", "--checkpoint_every=1", f"--rows={rows}"]
    flags += [f"--results_dir={folder / 'results'}", f"--workdir={folder / 'checkpoints'}"]
    return Hosts(folder, count, "table2_jft.py", *flags)


def wait_for_start(hosts: Hosts) -> None:
    """Returns when the processes have met and begin the table's row, or have found that it is done."""
    hosts.wait_until(lambda: MET in hosts.err(0) or hosts.wait(0) == [0] * hosts.count)


def kill_one(hosts: Hosts, choose: random.Random, longest: float) -> dict[str, object] | None:
    """Kills one at a random moment since they met; what became of the others, or None if the table was made before."""
    wait_for_start(hosts)
    moment = choose.uniform(0, longest)
    hosts.wait(moment)
    if MADE in hosts.out(0):
        return None
    victim, number = choose.randrange(hosts.count), choose.choice([signal.SIGKILL, signal.SIGTERM])
    hosts.signal(victim, number)
    begun = time.monotonic()
    codes = hosts.wait(ALL_END_S)
    took = time.monotonic() - begun
    told = [index for index in range(hosts.count) if index != victim and _names(hosts.err(index), victim)]
    return {
        "signal": number.name,
        "process": victim,
        "processes": hosts.count,
        "after_s": round(moment, 1),
        "others_ended_s": round(took, 1),
        "still_running": sum(code is None for code in codes),
        "named": bool(told),
        "exit_codes": " ".join(map(str, codes)),
    }


def _names(words: str, victim: int) -> bool:
    """Whether a process said which one is lost: JAX lists those that stopped sending heartbeats, and has a leader."""
    if victim == 0 and "the leader task was preempted/died" in words:
        return True
    return (
        re.search(rf"(heartbeats\)?:\n\s*(\d+\n)*{victim}\n)|task:{victim}\b|job:jax_worker.*:{victim}\b", words)
        is not None
    )


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--rows", default="can/vit_b/800", help="of the table: one")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    # All processes compile at once, on few cores. Gloo gives up if one of them is half a minute behind.
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    choose = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as kept:
        alone = Path(kept) / "undisturbed"
        longest = whole_table(alone, asked.processes, asked.rows)
        undisturbed = numbers(alone)
        print(f"undisturbed: {longest:.0f} s", flush=True)
        killed = tables = 0
        while killed < asked.kills:
            folder, rows = Path(kept) / f"disturbed-{tables}", []
            while killed < asked.kills:
                with table(folder, asked.processes, asked.rows) as hosts:
                    row = kill_one(hosts, choose, longest)
                if row is None:
                    break
                killed += 1
                rows.append({"seed": asked.seed, "kill": killed} | row)
                print(rows[-1], flush=True)
                assert not row["still_running"], folder
            whole_table(folder, asked.processes, asked.rows)
            assert numbers(folder) == undisturbed, f"the numbers of {folder} differ"
            print(f"table {tables}: all numbers equal", flush=True)
            done = {"table": tables, "equal": True} | measurement.circumstances()
            if rows:
                measurement.save(REPOSITORY / "results" / "kills.csv", [row | done for row in rows], ("seed", "kill"))
            tables += 1


def whole_table(folder: Path, count: int, rows: str) -> float:
    """Makes a table, or goes on with it, undisturbed; how long it took, in seconds since the processes met."""
    with table(folder, count, rows) as hosts:
        wait_for_start(hosts)
        begun = time.monotonic()
        codes = hosts.wait(GOES_ON_S)
    assert codes == [0] * count, [hosts.err(index)[-2000:] for index in range(count)]
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
