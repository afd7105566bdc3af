"""From measured times to the rows of `benchmark.csv`, `benchmark_peers.csv` and `benchmark_jobs.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from can.config import RunConfig
from can.files import write_atomic
from experiments.harness.timing import summary

Row = dict[str, Any]


def setting(config: RunConfig) -> Row:
    """What a row is about: a later row of the same setting replaces it."""
    return dict(
        method=config.method.name,
        model=config.model.size,
        image_size=config.model.image_size,
        mask_rate=getattr(config.method, "mask_rate", 0.0),  # supervised training has none
        depth=config.model.depth,
        decoder_depth=config.model.decoder_depth,
        batch_size=config.optim.batch_size,
        dtype=config.model.dtype,
        remat=config.model.remat,
        scan_unroll=config.model.scan_unroll,
    )


def step_row(beginnings: Mapping[str, np.ndarray], peak: np.ndarray, *, flops: int, batch_size: int) -> Row:
    """Speed of a step and the time of its parts.

    Args:
      beginnings: by part, in the order of the step, seconds per round of the step up to the end of that part.
      peak: operations a second of the machine's fastest matrix product, in the same rounds.
      flops: of the matrix products of one step.
      batch_size: images a step.
    """
    whole = list(beginnings.values())[-1]
    median, spread = summary(whole)
    parts = np.diff(list(beginnings.values()), axis=0, prepend=0)
    return dict(
        step_s=median,
        step_iqr_s=spread,
        images_per_s=batch_size / median,
        gflops_per_step=flops / 1e9,
        gflops_per_s=flops / median / 1e9,
        matmul_gflops_per_s=summary(peak).median / 1e9,
        share_of_peak=summary(flops / whole / peak).median,
    ) | {f"{name}_s": summary(part).median for name, part in zip(beginnings, parts, strict=True)}


def ratio_row(simclr: np.ndarray, simclr_flops: int, this: np.ndarray, this_flops: int) -> Row:
    """How many times as long SimCLR takes, and how many times as many operations: medians over rounds."""
    return dict(simclr_time_ratio=summary(simclr / this).median, simclr_flops_ratio=simclr_flops / this_flops)


def jobs_row(
    alone: np.ndarray, together: np.ndarray, peak: np.ndarray, jobs: int, *, flops: int, batch_size: int
) -> Row:
    """The step of one run on all cores and of `jobs` runs at a time, and what share of the peak either takes.

    `alone` and `together` are seconds per step in each round, of the one run and of those at a time until the last of
    them has done its steps. The others are as for `step_row`, the peak that of all cores.
    """
    return dict(
        jobs=jobs,
        images_per_s=jobs * batch_size / summary(together).median,
        matmul_gflops_per_s=summary(peak).median / 1e9,
        share_of_peak_alone=summary(flops / alone / peak).median,
        share_of_peak=summary(jobs * flops / together / peak).median,
        speedup=summary(jobs * alone / together).median,
    ) | _times(alone=alone, together=together)


def peer_row(ours: np.ndarray, theirs: np.ndarray) -> Row:
    """Both speeds, and how many times as long the peer takes: the median over rounds, and its spread."""
    ratio, spread = summary(theirs / ours)
    return dict(speedup=ratio, speedup_iqr=spread) | _times(ours=ours, theirs=theirs)


def _times(**sides: np.ndarray) -> Row:
    """Median and spread of the seconds of each side of a comparison."""
    columns: Row = {}
    for name, seconds in sides.items():
        columns[f"{name}_s"], columns[f"{name}_iqr_s"] = summary(seconds)
    return columns


def add_rows(path: Path, rows: Sequence[Row], setting_columns: Sequence[str]) -> None:
    """Writes `rows` into the CSV at `path`, in place of those that agree with one of them in `setting_columns`."""

    def key(row: Row) -> tuple[str, ...]:
        return tuple(str(row.get(column)) for column in setting_columns)

    new = [{name: _text(value) for name, value in row.items()} for row in rows]
    replaced = {key(row) for row in new}
    old: list[Row] = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            old = [row for row in csv.DictReader(file) if key(row) not in replaced]
    together = [*old, *new]
    text = io.StringIO()
    writer = csv.DictWriter(text, dict.fromkeys(name for row in together for name in row), lineterminator="\n")
    writer.writeheader()
    writer.writerows(together)
    write_atomic(path, text.getvalue())


def _text(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
