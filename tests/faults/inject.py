"""Faults that one of several processes meets: does what goes wrong on a pod, and writes down what happened.

    python tests/faults/inject.py [--processes=2] [--faults=...]

Each fault is met by the last process, or by the first. Once one has ended, all have to within a minute; one has to say
why, and the command that makes it good has to end with the weights and the log of an undisturbed run, to the bit. Rows
go to `results/faults.csv`; `docs/faults.md` has the published ones as a table.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from hosts import REPOSITORY, Hosts  # noqa: E402  behind the path

from experiments.benchmarks import measurement  # noqa: E402

ALL_END_S = 60.0
MOST = 50_000  # bytes of a file on a full disk: what the processes say has space, a checkpoint has not
RUN = ("pretrain.py", "--scale=smoke", "--method=can", "--total_steps=10", "--checkpoint_every=1", "--name=run")
Row = dict[str, Any]


class Scene:
    """A folder in which so many processes train on photographs of its own."""

    def __init__(self, folder: Path, processes: int) -> None:
        self.folder, self.processes = folder, processes
        self.photos, self.results = folder / "photos", folder / "results" / "smoke" / "run"
        self.state = folder / "work" / "smoke" / "run" / "state"

    def add_photos(self, count: int = 96, damaged: int = 0) -> None:
        """JPEGs of soft colours, of which the first are cut; of two sizes, so that no set of arrays is made of them."""
        shutil.rmtree(self.photos, ignore_errors=True)
        self.photos.mkdir(parents=True)
        for index in range(count):
            few = np.random.default_rng(index).integers(0, 256, (4, 4, 3), np.uint8)
            _, data = cv2.imencode(".jpg", cv2.resize(few, (60, 60 + index % 2), interpolation=cv2.INTER_CUBIC))
            content = data.tobytes()
            (self.photos / f"{index:03}.jpg").write_bytes(content[: len(content) // 2] if index < damaged else content)

    def start(self, *flags: str, of_second: tuple[str, ...] = ()) -> Hosts:
        """Starts the processes of the run, or starts them again."""
        folders = [f"--results_dir={self.folder / 'results'}", f"--workdir={self.folder / 'work'}"]
        folders += [f"--data=folder:{self.photos}", f"--data_dir={self.folder / 'data'}"]
        return Hosts(self.folder, self.processes, *RUN, *folders, *flags, of_second=of_second)

    def made(self) -> dict[str, Any]:
        """What the finished run is: its weights, and its log without the times."""
        with (self.results / "train.csv").open(newline="") as file:
            rows = [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]
        return {"weights": json.loads((self.results / "provenance.json").read_text())["weights"], "rows": rows}

    def finish(self, *flags: str) -> dict[str, Any]:
        """Makes the run, or goes on with it, undisturbed."""
        with self.start(*flags) as hosts:
            codes = hosts.wait()
            assert codes == [0] * self.processes, [hosts.err(index)[-2000:] for index in range(self.processes)]
        return self.made()


def met(hosts: Hosts, fault: str, expected: str) -> Row:
    """What became of all processes once the first ended of the fault: how soon the others did, and which told why."""
    hosts.wait_for_first()
    begun = time.monotonic()
    codes = hosts.wait(ALL_END_S)
    ended = time.monotonic() - begun
    telling = [index for index in range(hosts.count) if expected in hosts.err(index)]
    assert None not in codes, (fault, codes, [hosts.err(index)[-1500:] for index in range(hosts.count)])
    assert telling, (fault, [hosts.err(index)[-1500:] for index in range(hosts.count)])
    line = next(line for line in hosts.err(telling[0]).splitlines() if expected in line)
    return {
        "fault": fault,
        "processes": hosts.count,
        "ended_s": round(ended, 1),
        "exit_codes": " ".join(map(str, codes)),
        "told_by": " ".join(map(str, telling)),
        "line": line.replace(str(hosts.folder), "...").split("] ", 1)[-1],
    }


def at_work(scene: Scene, hosts: Hosts) -> None:
    """Returns when the run has its second checkpoint."""
    hosts.wait_until((scene.state / "2").exists)


def full_disk(of: int, fault: str, scene: Scene, undisturbed: dict[str, Any]) -> Row:
    """The process of this place can write no more; then there is space again."""
    with scene.start() as hosts:
        at_work(scene, hosts)
        resource.prlimit(hosts.processes[of].pid, resource.RLIMIT_FSIZE, (MOST, MOST))
        row = met(hosts, fault, "the disk is full")
    return row | {"afterwards": equal(scene.finish(), undisturbed)}


def read_only(scene: Scene, undisturbed: dict[str, Any]) -> Row:
    """The folder of checkpoints takes no more files; then it does again."""

    def lock(on: bool) -> None:  # root writes whatever the mode says
        if os.geteuid():
            scene.state.chmod(0o500 if on else 0o700)
        else:
            subprocess.run(["chattr", "+i" if on else "-i", str(scene.state)], check=True)

    with scene.start() as hosts:
        at_work(scene, hosts)
        lock(True)
        try:
            row = met(hosts, "The folder of checkpoints becomes read-only", "make that place writable")
        finally:
            lock(False)
    return row | {"afterwards": equal(scene.finish(), undisturbed)}


def dead_worker(scene: Scene, undisturbed: dict[str, Any]) -> Row:
    """A process that decodes images for the last one is killed."""
    with scene.start("--workers=1") as hosts:
        at_work(scene, hosts)
        os.kill(_decoders(hosts.processes[-1].pid)[0], signal.SIGKILL)
        row = met(hosts, "A process that decodes for one host is killed", "a process that decodes images is gone")
    return row | {"afterwards": equal(scene.finish("--workers=1"), undisturbed)}


def damaged_image(scene: Scene, undisturbed: dict[str, Any]) -> Row:
    """One image is cut: who meets it names it, and with the flag another one stands in, the same however many train."""
    scene.add_photos(count=330, damaged=1)  # a few more than the run sees, so that it meets the damaged one once
    with scene.start() as hosts:
        row = met(hosts, "One host meets a damaged image", "000.jpg")
    several = scene.finish("--skip_bad_images")
    skipped = json.loads((scene.results / "provenance.json").read_text())["skipped_images"]
    alone = Scene(scene.folder / "alone", 1)
    shutil.copytree(scene.photos, alone.photos)
    alone.finish("--skip_bad_images")
    count = json.loads((alone.results / "provenance.json").read_text())["skipped_images"]
    assert several != undisturbed and skipped == count > 0, (skipped, count)
    return row | {"afterwards": f"with --skip_bad_images the run ends; {skipped} skipped, as many as by one process"}


def damaged_images(scene: Scene, undisturbed: dict[str, Any]) -> Row:
    """More than a thousandth are cut: the flag does not help, mended images do."""
    scene.add_photos(damaged=6)
    with scene.start("--skip_bad_images") as hosts:
        row = met(hosts, "Too many are damaged, with --skip_bad_images", "images are damaged, more than")
    scene.add_photos()
    return row | {"afterwards": equal(scene.finish("--force=train"), undisturbed)}


def not_finite(scene: Scene, undisturbed: dict[str, Any]) -> Row:
    """The loss becomes infinite; `--replay` shows it again, with the same processes."""
    del undisturbed
    wild = ("--base_lr=1e30", "--log_every=4")
    with scene.start(*wild) as hosts:
        row = met(hosts, "A loss is no longer finite", "lower --base_lr")
    noted = json.loads((scene.state.parent / "failure.json").read_text())
    assert noted["seed"] == 0 and len(noted["images"]) == 32, noted
    with scene.start(*wild, "--replay") as hosts:
        assert hosts.wait() == [0] * scene.processes, hosts.err(0)
        last = hosts.out(0).splitlines()[-1]
    assert last.startswith(f"step {noted['step']}: ") and ("nan" in last or "inf" in last), last
    return row | {"afterwards": f"`--replay` makes step {noted['step']} again; its seed and images are noted"}


def other_flags(scene: Scene, undisturbed: dict[str, Any]) -> Row:
    """The processes are not started alike."""
    with scene.start(of_second=("--base_lr=.1",)) as hosts:
        row = met(hosts, "One host is started with other flags", "has another command line than process 0")
    return row | {"afterwards": equal(scene.finish(), undisturbed)}


FAULTS: dict[str, Callable[[Scene, dict[str, Any]], Row]] = {
    "full_disk": partial(full_disk, -1, "One host's disk is full"),
    "full_disk_of_the_first": partial(full_disk, 0, "The disk of the host that writes is full"),
    "read_only": read_only,
    "dead_worker": dead_worker,
    "damaged_image": damaged_image,
    "damaged_images": damaged_images,
    "not_finite": not_finite,
    "other_flags": other_flags,
}


def equal(made: dict[str, Any], undisturbed: dict[str, Any]) -> str:
    """Says that a run is the undisturbed one; fails if it is not."""
    assert made == undisturbed, (made, undisturbed)
    return "the same command goes on; all numbers equal"


def _decoders(parent: int) -> list[int]:
    """The processes that decode images for `parent`."""
    children = [child for file in Path(f"/proc/{parent}/task").glob("*/children") for child in file.read_text().split()]
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--faults", default=",".join(FAULTS), help="which; default: all")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        alone = Scene(Path(folder) / "undisturbed", asked.processes)
        alone.add_photos()
        undisturbed = alone.finish()
        for name in asked.faults.split(","):
            scene = Scene(Path(folder) / name, asked.processes)
            scene.add_photos()
            row = FAULTS[name](scene, undisturbed) | measurement.circumstances()
            print(", ".join(f"{key}: {row[key]}" for key in ("fault", "ended_s", "line", "afterwards")), flush=True)
            measurement.save(REPOSITORY / "results" / "faults.csv", [row], ("fault", "processes"))


if __name__ == "__main__":
    main()
