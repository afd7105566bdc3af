"""How long runs and evaluations took before: on this machine if some are finished here, else those that are published.

Pre-training is told in floating-point operations a second, so that a run of another length can be foretold; an
evaluation takes as long for another run of its size.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeVar

from can.config import RunConfig
from can.errors import DataError
from can.runs import RunDir
from can.system.files import read_json
from experiments.harness.setting import Setting

HERE, PUBLISHED = "finished here", "published (another machine)"
ENOUGH = 5  # runs of one method and size that tell its speed
Value = TypeVar("Value")
Groups = dict[tuple[str, str, str], list[Value]]  # by where, method or evaluation, and size


class Speed(NamedTuple):
    """What was measured, and where."""

    value: float  # FLOPs a second, or seconds
    where: str


class Speeds:
    """Medians over the finished runs of a setting's scale."""

    def __init__(self, setting: Setting, flops: Callable[[RunConfig], float]) -> None:
        """`flops`: of a run's pre-training; it is asked of few runs, since it takes a second or two."""
        self._flops = flops
        self._training: Groups[tuple[RunConfig, float]] = defaultdict(list)
        self._evaluation: Groups[float] = defaultdict(list)
        for where, folder in ((HERE, setting.results_dir), (PUBLISHED, setting.published_dir)):
            for config, provenance, evals in _finished(folder / setting.scale.name, setting.workdir):
                seconds = provenance.get("wall_time_s", 0)
                if config.optim.total_steps and _is_time(seconds) and provenance.get("steps") == config.optim.last_step:
                    together = len(provenance.get("seeds_at_once", "1"))  # which share the time of one program
                    self._training[where, config.method.name, config.model.size].append((config, seconds / together))
                for name, taken in filter(lambda of: _is_time(of[1]), evals.items()):
                    self._evaluation[where, name, config.model.size].append(taken)

    def training(self, config: RunConfig) -> Speed | None:
        """Of runs of this method and size, or else of any; None if none is finished."""
        where, runs = _nearest(self._training, config.method.name, config.model.size)
        few = runs[:: max(1, math.ceil(len(runs) / ENOUGH))]
        return Speed(median(self._flops(run) / seconds for run, seconds in few), where) if few else None

    def evaluation(self, name: str, config: RunConfig) -> Speed | None:
        """Of this evaluation of runs of this size, or else of any size; None if it was never made."""
        named = {key: values for key, values in self._evaluation.items() if key[1] == name}
        where, seconds = _nearest(named, name, config.model.size)
        return Speed(median(seconds), where) if seconds else None


def _is_time(seconds: Any) -> bool:
    """Whether it can be how long something took: a clock that is set back made others, in earlier versions."""
    return isinstance(seconds, int | float) and 0 < seconds < math.inf


def _nearest(groups: Groups[Value], name: str, size: str) -> tuple[str, list[Value]]:
    for where in (HERE, PUBLISHED):
        if same := groups.get((where, name, size)):
            return where, same
        if others := [value for key, group in groups.items() if key[0] == where for value in group]:
            return where, others
    return "", []


def _finished(folder: Path, workdir: Path) -> Iterator[tuple[RunConfig, dict[str, Any], dict[str, float]]]:
    """Each finished run's configuration and provenance, and its evaluations' seconds; damaged ones are left out."""
    for path in sorted(folder.glob("*/provenance.json")):
        run = RunDir(folder.parent, workdir, folder.name, path.parent.name)
        try:
            evals = {
                file.stem.removeprefix("eval-"): read_json(file)["provenance"]["wall_time_s"]
                for file in path.parent.glob("eval-*.json")
            }
            yield run.config, read_json(path), evals
        except (DataError, KeyError):
            continue
