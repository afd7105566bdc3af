"""A benchmark's measurements: from times to speeds, and the CSV files that keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from can.config import RunConfig
from can.runs.provenance import LOADED, cpu_model
from can.system.files import write_atomic
from can.system.machine import usable_cpus
from experiments.harness.timing import summary

Measurement = dict[str, Any]  # by column of the CSV file: what was measured, the numbers, the circumstances


def setting(config: RunConfig) -> Measurement:
    """What of a training step its speed depends on."""
    return dict(
        method=config.method.name,
        model=config.model.size,
        image_size=config.model.image_size,
        mask_rate=getattr(config.method, "mask_rate", 0.0),
        depth=config.model.depth,
        decoder_depth=config.model.decoder_depth,
        batch_size=config.optim.batch_size,
        dtype=config.model.dtype,
        remat=config.model.remat,
        scan_unroll=config.model.scan_unroll,
    )


def circumstances() -> Measurement:
    """On what machine, when and with which code this process measures."""
    return dict(
        cpus=usable_cpus(),
        cpu=cpu_model(),
        accelerator="" if jax.default_backend() == "cpu" else jax.devices()[0].device_kind,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        **LOADED,
    )


def step_speed(beginnings: Mapping[str, np.ndarray], peak: np.ndarray, *, flops: int, batch_size: int) -> Measurement:
    """Speed of a step and the time of its parts.

    Args:
      beginnings: by part, in the order of the step, seconds per round of the step up to the end of that part.
      peak: operations a second of the machine's fastest matrix product, in the same rounds.
      flops: of the matrix products of one step.
      batch_size: images a step.
    """
    whole = list(beginnings.values())[-1]
    parts = np.diff(list(beginnings.values()), axis=0, prepend=0)
    median = summary(whole).median
    return (
        _times(step=whole)
        | dict(
            images_per_s=batch_size / median,
            gflops_per_step=flops / 1e9,
            gflops_per_s=flops / median / 1e9,
            matmul_gflops_per_s=summary(peak).median / 1e9,
            share_of_peak=summary(flops / whole / peak).median,
        )
        | {f"{name}_s": summary(part).median for name, part in zip(beginnings, parts, strict=True)}
    )


def simclr_ratios(simclr: np.ndarray, simclr_flops: int, this: np.ndarray, this_flops: int) -> Measurement:
    """How many times as long SimCLR takes, and how many times as many operations: medians over rounds."""
    return dict(simclr_time_ratio=summary(simclr / this).median, simclr_flops_ratio=simclr_flops / this_flops)


def jobs_speed(
    alone: np.ndarray, together: np.ndarray, peak: np.ndarray, jobs: int, *, flops: int, batch_size: int
) -> Measurement:
    """The step of one run on all cores and of `jobs` runs at a time, and what share of the peak either takes.

    `alone` and `together` are seconds per step in each round, of the one run and of those at a time until the last of
    them has done its steps. The others are as for `step_speed`, the peak that of all cores.
    """
    return dict(
        jobs=jobs,
        images_per_s=jobs * batch_size / summary(together).median,
        matmul_gflops_per_s=summary(peak).median / 1e9,
        share_of_peak_alone=summary(flops / alone / peak).median,
        share_of_peak=summary(jobs * flops / together / peak).median,
        speedup=summary(jobs * alone / together).median,
    ) | _times(alone=alone, together=together)


def seeds_speed(alone: np.ndarray, together: np.ndarray, seeds: int, *, batch_size: int) -> Measurement:
    """The step of `seeds` seeds in one program, and how many times as many images a second it makes as one seed.

    `alone` and `together` are seconds per step in each round, of one seed and of all.
    """
    return dict(
        seeds=seeds,
        images_per_s=seeds * batch_size / summary(together).median,
        speedup=summary(seeds * alone / together).median,
    ) | _times(step=together)


def peer_speed(ours: np.ndarray, theirs: np.ndarray) -> Measurement:
    """Both times, and how many times as long the peer takes: the median over rounds, and its interquartile range."""
    ratio = summary(theirs / ours)
    return dict(speedup=ratio.median, speedup_iqr=ratio.iqr) | _times(ours=ours, theirs=theirs)


def save(path: Path, measurements: Sequence[Measurement], setting_columns: Sequence[str]) -> None:
    """Adds rows to the CSV at `path`, in place of those that agree with one of them in `setting_columns`."""
    frame = pd.DataFrame([{name: _text(value) for name, value in one.items()} for one in measurements])
    if path.exists():
        frame = pd.concat([pd.read_csv(path, dtype=str, keep_default_na=False), frame])
    frame = frame.fillna("").drop_duplicates(list(setting_columns), keep="last")
    write_atomic(path, frame.to_csv(index=False, lineterminator="\n"))


def told(path: Path) -> str:
    """Where the measurements are and how to see them beside the published ones, a sentence."""
    return f"Written to {path}. `python analysis/make_benchmarks.py` shows it beside the published numbers."


def _times(**programs: np.ndarray) -> Measurement:
    """Median and interquartile range of the seconds of each program."""
    columns: Measurement = {}
    for name, seconds in programs.items():
        columns[f"{name}_s"], columns[f"{name}_iqr_s"] = summary(seconds)
    return columns


def _text(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
