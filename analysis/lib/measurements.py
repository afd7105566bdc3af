"""What was measured at a scale: the runs under `results/<scale>/` that have an evaluation, by the row they belong to.

Only runs with the scale's own settings count: a run with overrides carries them in its name, and a table of the paper
has no place for it.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from can.config import RunConfig
from can.errors import DataError
from can.files import read_json
from can.runs import EvalRecord, RunDir
from can.runs.name import flatten

ROLES = {"ViT-B": "vit_b", "ViT-L": "vit_l", "IN-1K": "in1k", "JFT-300M": "jft"}  # the paper's name -> the role's
_MODELS = {"vitb": "vit_b", "vitl": "vit_l"}  # in a run's name -> the role's
_RUN = re.compile(r"(?P<method>[a-z]\w*)-(?P<model>vit[bl])-(?P<data>in1k|jft)-e(?P<epochs>[\d.e+]+)-s(?P<seed>\d+)")


class RowKey(NamedTuple):
    """What the runs of one row share: they differ in the seed alone. Its text is what `--rows` takes."""

    method: str
    model: str  # a role
    data: str  # a role
    epochs: float  # as the paper counts them

    def __str__(self) -> str:
        return f"{self.method}/{self.model}/{self.epochs:g}"


class Run(NamedTuple):
    """One finished run with one evaluation of it."""

    key: RowKey
    config: RunConfig
    records: list[EvalRecord]

    @property
    def images(self) -> int:
        """Images seen in pre-training, views not counted twice."""
        return self.config.optim.total_steps * self.config.optim.batch_size


class Score(NamedTuple):
    """A metric over the seeds of a row."""

    mean: float
    sd: float | None  # sample standard deviation over the seeds; None for one seed
    seeds: int
    n: int  # test images, of each seed

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if self.sd is None else f"{self.mean:.1f} ± {self.sd:.1f}"


def read_runs(results_dir: Path, scale: str, eval_name: str) -> dict[RowKey, list[Run]]:
    """The runs of a scale that have `eval-<eval_name>.json`, each row's in the order of their seeds.

    Raises DataError or ConfigError if a file is damaged.
    """
    rows: dict[RowKey, list[Run]] = {}
    for path in sorted((Path(results_dir) / scale).glob(f"*/eval-{eval_name}.json")):
        name = _RUN.fullmatch(path.parent.name)
        if name is None:
            continue
        key = RowKey(name["method"], _MODELS[name["model"]], name["data"], float(name["epochs"]))
        config = RunConfig.from_dict(read_json(path.parent / "config.json"))
        # Only the results folder is read: where checkpoints lie does not matter.
        records = RunDir(Path(results_dir), Path(results_dir), scale, path.parent.name).read_eval(eval_name)
        rows.setdefault(key, []).append(Run(key, config, records))
    return {key: sorted(runs, key=lambda run: run.config.seed) for key, runs in rows.items()}


def score(runs: Sequence[Run], metric: str) -> Score:
    """A metric that is a share, over a row's runs, in per cent.

    Raises DataError if a run lacks it or the seeds' test sets differ in size.
    """
    records = [_record(run, metric) for run in runs]
    sizes = {record["n"] for record in records}
    if len(sizes) > 1:
        raise DataError(f"the seeds of {runs[0].key} were tested on different numbers of images: {sorted(sizes)}")
    return over_seeds([record["value"] for record in records], sizes.pop())


def over_seeds(shares: Sequence[float], n: int) -> Score:
    """The score of shares in [0, 1], one a seed, each of `n` test images."""
    values = [100 * share for share in shares]
    sd = statistics.stdev(values) if len(values) > 1 else None
    return Score(statistics.fmean(values), sd, len(values), n)


def protocols(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """The different settings under which `runs` were evaluated; one, unless the code changed between them."""
    found: dict[str, dict[str, Any]] = {}
    for record in (record for run in runs for record in run.records):
        protocol = record["protocol"]
        protocol = protocol if isinstance(protocol, dict) else {"name": protocol}
        found.setdefault(json.dumps(protocol, sort_keys=True), protocol)
    return list(found.values())


def differing_fields(configs: Sequence[dict[str, Any]], ignore: Iterable[str] = ()) -> list[str]:
    """The fields, by their dotted names, in which nested configurations differ: `optim.base_lr: 0.001, 0.002`."""
    flat = [flatten(config) for config in configs]
    differing = []
    for field in dict.fromkeys(field for config in flat for field in config if field not in set(ignore)):
        values: list[Any] = []  # distinct by equality: 800 is 800.0
        for value in (config.get(field) for config in flat):
            values += [] if value in values else [value]
        if len(values) > 1:
            differing.append(f"{field}: {', '.join(map(str, values))}")
    return differing


def _record(run: Run, metric: str) -> EvalRecord:
    for record in run.records:
        if record["metric"] == metric:
            return record
    raise DataError(f"the evaluation of {run.key} seed {run.config.seed} has no {metric}: evaluate it again")
