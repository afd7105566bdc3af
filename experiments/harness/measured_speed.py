"""How long runs and evaluations take on a kind of device, and how much memory: those that are finished on one like it.

Pre-training is told in floating-point operations a second, so that a run of another length can be foretold; an
evaluation takes as long for another run of its size. What was never timed on such a device is not known, unless a
training step is measured here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax

from can.commands.setting import Setting
from can.config import RunConfig
from can.errors import DataError
from can.runs import RunDir
from can.runs.provenance import cpu_model
from can.system.files import read_json
from can.system.machine import usable_cpus

HERE, PUBLISHED = "finished here", "published"
ENOUGH = 5  # runs of one method and size that tell its speed


class Device(NamedTuple):
    """What a run's time depends on: the platform, the processor's or accelerator's kind, and how many of its cores."""

    platform: str
    kind: str
    count: int  # type: ignore[assignment]  # cores of a run on a CPU, else accelerators

    def __str__(self) -> str:
        return f"{self.count} x {self.kind}"

    @classmethod
    def here(cls, at_once: int) -> Device:
        """What a run of this process has, of `at_once` that are made at a time."""
        if jax.default_backend() == "cpu":
            return cls("cpu", cpu_model(), max(1, usable_cpus() // at_once))
        return cls(jax.default_backend(), jax.devices()[0].device_kind, jax.device_count())

    @classmethod
    def of(cls, made: Mapping[str, Any]) -> Device:
        """What a provenance says. Raises KeyError for one that does not."""
        device, cpu = made["device"], made["cpu"]
        if device["platform"] == "cpu":
            return cls("cpu", cpu["model"], cpu["count"])
        return cls(device["platform"], device["kind"], device["count"])


class Speed(NamedTuple):
    """What was measured, and where."""

    value: float  # FLOPs a second, seconds, or megabytes
    where: str


class _Trained(NamedTuple):
    """A finished pre-training."""

    config: RunConfig
    seconds: float
    megabytes: float


class Speeds:
    """Medians over the finished runs of a setting's scale that were made on `device`."""

    def __init__(self, setting: Setting, flops: Callable[[RunConfig], float], device: Device) -> None:
        """`flops`: of a run's pre-training; it is asked of few runs, since it takes a second or two."""
        self._flops = flops
        self._trained: dict[str, list[_Trained]] = defaultdict(list)  # by where
        self._evaluated: dict[tuple[str, str, str], list[float]] = defaultdict(list)  # by where, evaluation and size
        for where, folder in ((HERE, setting.results_dir), (PUBLISHED, setting.published_dir)):
            for config, made, evals in _finished(folder / setting.scale.name, setting.workdir):
                seconds = made.get("wall_time_s", 0)
                whole = config.optim.total_steps and _is_time(seconds) and made.get("steps") == config.optim.last_step
                if whole and Device.of(made) == device:
                    seeds = made.get("seeds_at_once", [config.seed])  # share the time of one program
                    self._trained[where].append(_Trained(config, seconds / len(seeds), made.get("peak_memory_mb", 0)))
                for name, by in evals.items():
                    if _is_time(by.get("wall_time_s")) and Device.of(by) == device:
                        self._evaluated[where, name, config.model.size].append(by["wall_time_s"])

    def training(self, config: RunConfig) -> Speed | None:
        """Operations a second in runs of this method and size, or else of any; None if none is finished."""
        where, runs = self._like(config)
        few = runs[:: max(1, math.ceil(len(runs) / ENOUGH))]
        return Speed(median(self._flops(run.config) / run.seconds for run in few), where) if few else None

    def memory(self, config: RunConfig) -> Speed | None:
        """The most megabytes that a process held, of runs of this method and size, or else of any.

        Not divided among the seeds of one program: the next one will have as many.
        """
        where, runs = self._like(config)
        return Speed(max(run.megabytes for run in runs), where) if runs else None

    def evaluation(self, name: str, config: RunConfig) -> Speed | None:
        """Seconds of this evaluation in runs of this size, or else of any size; None if it was never made."""
        for where in (HERE, PUBLISHED):
            if same := self._evaluated.get((where, name, config.model.size)):
                return Speed(median(same), where)
            others = [one for key, all_ in self._evaluated.items() if key[:2] == (where, name) for one in all_]
            if others:
                return Speed(median(others), f"{where}, of other sizes")
        return None

    def _like(self, config: RunConfig) -> tuple[str, list[_Trained]]:
        kind = (config.method.name, config.model.size)
        for where in (HERE, PUBLISHED):
            runs = self._trained[where]
            if same := [run for run in runs if (run.config.method.name, run.config.model.size) == kind]:
                return where, same
            if runs:
                return f"{where}, of other methods or sizes", runs
        return "", []


def _is_time(seconds: Any) -> bool:
    """Whether it can be how long something took: a clock that is set back made others, in earlier versions."""
    return isinstance(seconds, int | float) and 0 < seconds < math.inf


def _finished(folder: Path, workdir: Path) -> Iterator[tuple[RunConfig, dict[str, Any], dict[str, dict[str, Any]]]]:
    """Each finished run's configuration and provenance, and its evaluations'; damaged ones are left out."""
    for path in sorted(folder.glob("*/provenance.json")):
        run = RunDir(folder.parent, workdir, folder.name, path.parent.name)
        try:
            evals = {
                file.stem.removeprefix("eval-"): read_json(file)["provenance"]
                for file in path.parent.glob("eval-*.json")
            }
            made = read_json(path)
            for each in (made, *evals.values()):
                Device.of(each)
                each["wall_time_s"]
            yield run.config, made, evals
        except (DataError, KeyError, TypeError):
            continue
