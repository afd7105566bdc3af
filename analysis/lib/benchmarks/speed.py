"""The tables of speed, of what experiments/benchmarks/ measures: `speed.py`, `jobs.py`, `peers.py` and so on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from analysis.lib.benchmarks.table import BenchmarkTable, table_rows
from can.commands.methods import preset

PARTS = ("augmentation", "forward", "backward", "optimiser")


def speed(rows: pd.DataFrame) -> pd.DataFrame:
    """Time, speed, share of the machine's peak, compilation and memory of the whole step."""
    return _of_steps(
        rows,
        lambda row: {
            "Step, ms": _step(row.step_s, row.step_iqr_s),
            "Images/s": f"{row.images_per_s:,.1f}",
            "GFLOP/s": f"{row.gflops_per_s:.1f}",
            "Matmul GFLOP/s": f"{row.matmul_gflops_per_s:.1f}",
            "Of the peak": f"{row.share_of_peak:.0%}",
            "Compile, s": f"{row.compile_s:.1f}",
            "Memory, MiB": f"{row.memory_mb:,}",
        },
    )


def parts(rows: pd.DataFrame) -> pd.DataFrame:
    """What share of the step its parts take."""

    def shares(row: Any) -> dict[str, object]:
        return {part.capitalize(): f"{getattr(row, f'{part}_s') / row.step_s:.0%}" for part in PARTS}

    return _of_steps(rows, shares)


def ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """How many times as much as CAN SimCLR takes: counted, measured, and the one as a share of the other."""
    if "simclr_time_ratio" not in rows:  # SimCLR was not timed with the others
        return pd.DataFrame()
    return _of_steps(
        rows[(rows["method"] == "can") & rows["simclr_time_ratio"].notna()],
        lambda row: {
            "SimCLR/CAN, FLOPs": f"{row.simclr_flops_ratio:.2f}",
            "SimCLR/CAN, time": f"{row.simclr_time_ratio:.2f}",
            "Realised": f"{row.simclr_time_ratio / row.simclr_flops_ratio:.0%}",
        },
    )


def peers(rows: pd.DataFrame) -> pd.DataFrame:
    """Our step and PyTorch's."""
    return _of_steps(
        rows,
        lambda row: {
            "Ours, ms": _step(row.ours_s, row.ours_iqr_s),
            "PyTorch, ms": _step(row.theirs_s, row.theirs_iqr_s),
            "PyTorch / ours": f"{row.speedup:.2f} ± {row.speedup_iqr:.2f}",
        },
    )


def jobs(rows: pd.DataFrame) -> pd.DataFrame:
    """One run on all cores, and several at a time, each on cores of its own."""
    return _of_steps(
        rows,
        lambda row: {
            "Runs": row.jobs,
            "One run, ms": _step(row.alone_s, row.alone_iqr_s),
            "Of the peak": f"{row.share_of_peak_alone:.0%}",
            "Each, ms": _step(row.together_s, row.together_iqr_s),
            "All, of the peak": f"{row.share_of_peak:.0%}",
            "Images/s": f"{row.images_per_s:,.0f}",
            "All / one": f"{row.speedup:.2f}",
        },
    )


def seeds_at_once(rows: pd.DataFrame) -> pd.DataFrame:
    """One seed, and several in one program."""
    return _of_steps(
        rows,
        lambda row: {
            "Seeds": row.seeds,
            "Step, ms": _step(row.step_s, row.step_iqr_s),
            "Images/s": f"{row.images_per_s:,.0f}",
            "Beside one": f"{row.speedup:.2f}",
            "Compile, s": f"{row.compile_s:.1f}",
            "Memory, MiB": f"{row.memory_mb:,}",
        },
    )


def start(rows: pd.DataFrame) -> pd.DataFrame:
    """A start with nothing compiled, and one with everything compiled."""
    return table_rows(
        rows,
        lambda row: {
            "Method": preset(row.method).title,
            "Model": row.model,
            "First start, s": f"{row.cold_s:.1f}",
            "Second, s": f"{row.warm_s:.1f}",
        },
    )


_SPEED = "python experiments/benchmarks/speed.py --scale={scale}"
_JOBS = "python experiments/benchmarks/jobs.py --scale={scale}"
_SEEDS = "python experiments/benchmarks/seeds_at_once.py --scale={scale}"
_PEERS = "python experiments/benchmarks/peers.py --scale={scale}"
_START = "python experiments/benchmarks/start.py --scale={scale}"
TABLES = {
    "speed": BenchmarkTable("Speed of the training step", "{scale}/speed.csv", _SPEED, speed, 5),
    "parts": BenchmarkTable("Where the step's time goes", "{scale}/speed.csv", _SPEED, parts, 5),
    "ratios": BenchmarkTable("SimCLR beside CAN", "{scale}/speed.csv", _SPEED, ratios, 5),
    "jobs": BenchmarkTable("Several runs at a time", "{scale}/jobs.csv", _JOBS, jobs, 6),
    "seeds_at_once": BenchmarkTable("Seeds in one program", "{scale}/seeds_at_once.csv", _SEEDS, seeds_at_once, 6),
    "peers": BenchmarkTable("Beside PyTorch", "{scale}/peers.csv", _PEERS, peers, 5),
    "start": BenchmarkTable("Until the first step", "{scale}/start.csv", _START, start, 2),
}


def _of_steps(rows: pd.DataFrame, cells: Callable[[Any], dict[str, object]]) -> pd.DataFrame:
    """A table whose rows are about a training step, which comes first."""
    return table_rows(rows, lambda row: _setting(row) | cells(row))


def _setting(row: Any) -> dict[str, object]:
    options = [] if row.dtype == "float32" else [row.dtype]
    options += [] if row.remat == "none" else [f"remat {row.remat}"]
    options += [] if row.scan_unroll == 1 else [f"{row.scan_unroll} blocks unrolled"]
    return {
        "Method": preset(row.method).title,
        "Model": ", ".join([row.model, *options]),
        "Layers": f"{row.depth}" if row.method == "simclr" else f"{row.depth} + {row.decoder_depth}",
        "Pixels": row.image_size,
        "Batch": row.batch_size,
    }


def _step(median: float, iqr: float) -> str:
    """A step's time in milliseconds, with its interquartile range."""
    return f"{_milliseconds(median)} ± {_milliseconds(iqr)}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}" if seconds >= 0.1 else f"{seconds * 1000:.1f}"
