"""Results that nobody measured, written as the experiments write theirs, for the tests of `analysis/`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.lib import significance
from analysis.lib.significance import Contrast
from can.commands.evaluations import EVALS
from can.commands.scales import SCALES
from can.commands.setting import Setting
from can.commands.spec import Need, Spec
from can.config import RunConfig
from can.runs import EvalRecord, Evaluated, RunDir, pack_correct
from can.system.files import write_json

COMMIT = {"commit": "c0ffee", "dirty": False}


def setting(folder: Path, scale: str = "laptop", **fields: Any) -> Setting:
    """A reader's setting below `folder`, where nothing is published and nothing is measured."""
    folders = {"results_dir": folder / "results", "published_dir": folder / "published", "workdir": folder / "work"}
    return Setting(SCALES[scale], **folders | fields)


def published(setting: Setting) -> Setting:
    """Where `add` writes what the repository publishes."""
    work = setting.workdir.with_name("maintainers")
    return dataclasses.replace(setting, results_dir=setting.published_dir, workdir=work)


def spec(row: str, data: str = "jft") -> Spec:
    """A row such as can/vit_l/800."""
    method, model, epochs = row.split("/")
    return Spec(method, model, data, float(epochs))


def add(
    setting: Setting,
    row: str | Spec,
    seed: int = 0,
    evaluation: str = "linear_probe",
    *,
    n: int = 10_000,
    metrics: Mapping[str, float] | None = None,
    correct: np.ndarray | None = None,
    protocol: Mapping[str, Any] | None = None,
    fingerprints: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    git: Mapping[str, Any] = COMMIT,
    **top: float,
) -> RunDir:
    """Writes one evaluation of one run; values in `top`, and only they, are in per cent.

    `protocol`, and `config` in the group `optim`, are what is other than `setting` asks for.
    """
    of_run = spec(row) if isinstance(row, str) else row
    own = setting.for_table((Need(of_run), Need(spec("can/vit_l/800"))))[0][1]  # as in a table of several methods
    run = own.run(of_run, seed)
    asked: RunConfig = dataclasses.replace(
        run.config, optim=dataclasses.replace(run.config.optim, **dict(config or {}))
    )
    run.folder.claim(asked)
    (run.folder.results / "train.csv").write_text(f"step,loss\n{asked.optim.last_step},2.5\n")
    write_json(run.folder.results / "provenance.json", {"git": dict(git), "weights": f"w{seed}"})
    values = {metric: value / 100 for metric, value in top.items()} | dict(metrics or {})
    records = [EvalRecord(metric=metric, value=value, n=n, seed=seed) for metric, value in values.items()]
    if correct is not None:
        records[0]["correct"] = pack_correct(correct)
    Evaluated(
        EVALS[evaluation].protocol(own, run) | dict(protocol or {}),
        {"weights": f"w{seed}", "images test": "i"} | dict(fingerprints or {}),
        {"git": dict(git)},
        records,
    ).write(run.folder.eval_path(evaluation))
    return run.folder


def cells(markdown: str, *start: str) -> list[str]:
    """The cells of the one table row that starts with these cells."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if "|" in line]
    (found,) = [row for row in rows if row[: len(start)] == list(start)]
    return found


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Table:
    """Runs that claims are about, by metric, of one source."""

    def __init__(self, by_metric: Mapping[str, pd.DataFrame]) -> None:
        self.by_metric = by_metric

    def contrast(self, evaluation: str, metric: str, claims: Sequence[Contrast]) -> pd.DataFrame:
        return significance.contrast(self.by_metric[metric], claims).assign(pool="all", pooled=1)

    def over_sets(self, evaluation: str, pattern: str, claims: Sequence[Contrast]) -> pd.DataFrame:
        mean = pd.concat(self.by_metric.values()).groupby(["row", "seed"], as_index=False, sort=False)
        return significance.contrast(mean.agg({"value": "mean", "n": "first"}), claims).assign(pool="all", pooled=1)

    def sets(self, evaluation: str, pattern: str) -> list[tuple[str, str]]:
        return [(metric, metric) for metric in self.by_metric]

    def flops(self, spec: Spec) -> float:
        return spec.epochs
