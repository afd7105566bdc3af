"""Provenance of a run: which code, libraries and machine made its numbers, out of which data, in what time.

Nothing in it tells who ran it or where: no host name, user name or absolute path.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

from can.data.image_set import ImageSet
from can.runs.numerics import numerics
from can.system.machine import usable_cpus

LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "opencv-python-headless",
    "simplejpeg",
)
REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = ("can", "experiments", "requirements.txt")  # what a run's numbers depend on; results/ changes all the time


def provenance(
    images: ImageSet,
    started: float,
    wall_time_s: float,
    steps: int,
    images_per_second: float | None = None,
    weights: str | None = None,
) -> dict[str, Any]:
    """What `provenance.json` holds, as plain JSON values.

    `images` is what was trained on, `started` is the run's start in seconds since the epoch
    (`time.time()`), `wall_time_s` the seconds it trained over all its restarts, `steps` what it trained,
    `images_per_second` its mean speed, `weights` the fingerprint of the encoder that came out.
    """
    return _made_by() | {
        "data": described(images),
        "shares": dict(images.shares),
        "weights": weights,
        "started": _utc(started),
        "finished": _utc(time.time()),
        "wall_time_s": round(wall_time_s, 1),
        "steps": steps,
        "images_per_second": None if images_per_second is None else round(images_per_second, 1),
        "peak_memory_mb": peak_memory_mb(),
    }


def provenance_of_evaluation(begun: float) -> dict[str, Any]:
    """What an evaluation's file says of its making, which began at `begun` of `time.monotonic()`: nobody sets that."""
    now, seconds = time.time(), time.monotonic() - begun
    return _made_by() | {"started": _utc(now - seconds), "finished": _utc(now), "wall_time_s": round(seconds, 1)}


def _made_by() -> dict[str, Any]:
    """Code, libraries and machine."""
    return {
        "git": LOADED,
        "numerics": numerics(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
        "device": {
            "platform": jax.default_backend(),
            "kind": jax.devices()[0].device_kind,
            "count": jax.device_count(),
            "processes": jax.process_count(),
        },
        "cpu": {"model": cpu_model(), "count": usable_cpus()},
        "system": f"{platform.system()} {platform.machine()}",
    }


def git_state(repository: Path = REPOSITORY) -> dict[str, Any]:
    """The commit checked out in `repository` and whether its sources differ from it; both null outside of git.

    `why` says what git had against a repository that is there.
    """
    if not (repository / ".git").exists():  # perhaps an installed package that lies in some other repository
        return {"commit": None, "dirty": None}
    commit, why = _git(repository, "rev-parse", "--verify", "HEAD")
    changes, _ = _git(repository, "status", "--porcelain", "--", *SOURCES)
    dirty = None if commit is None or changes is None else bool(changes)
    return {"commit": commit, "dirty": dirty} | ({} if commit else {"why": why})


def _git(repository: Path, *arguments: str) -> tuple[str | None, str]:
    """What git prints, or None and its first words about why not."""
    # In a container, a mounted clone belongs to another user; git would not read it without being told that it may.
    trusted = ["-c", f"safe.directory={repository.resolve()}"]
    command = ["git", *trusted, "-C", str(repository), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:  # no git
        return None, type(error).__name__
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or ["git failed"])[0].replace(str(repository), "the repository")
    return done.stdout.strip(), ""


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """What the processor calls itself."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    return found.group(1) if found else platform.machine()  # ARM kernels print no model name


def peak_memory_mb() -> int:
    """The process's largest resident set so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 20 if sys.platform == "darwin" else peak >> 10  # bytes there, KiB on Linux


def described(images: ImageSet) -> dict[str, str]:
    """A set's fingerprint by its name and split, as `provenance.json` has it."""
    return {without_folder(f"{images.name} {images.split}"): images.fingerprint}


def without_folder(name: str) -> str:
    """A data set's name without this machine's folders: `folder:/home/someone/photos` as `folder:photos`."""
    if "/" not in name:
        return name
    kind = re.match(r"[^/:]*:", name)
    return (kind.group() if kind else "") + Path(name).name


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


# When a run ends, files may have been edited, or committed, that its process never read.
LOADED = git_state()
