"""The tables of speed, as Markdown, from what `experiments/benchmarks/speed.py` and `first_step.py` wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.lib.formats import Row, Table, read_rows, to_markdown

NAMES = {"can": "CAN", "simclr": "SimCLR", "mae": "MAE", "supervised": "supervised"}
PARTS = ("augmentation", "forward", "backward", "optimiser")


def speed(results_dir: Path, scale: str) -> str:
    """Time, speed, share of the machine's peak, compilation and memory of the whole step."""

    def cells(row: Row) -> list[str]:
        return [
            _step(row, "step"),
            f"{float(row['images_per_s']):,.1f}",
            f"{float(row['gflops_per_s']):.1f}",
            f"{float(row['matmul_gflops_per_s']):.1f}",
            f"{float(row['share_of_peak']):.0%}",
            f"{float(row['compile_s']):.1f}",
            f"{int(row['memory_mb']):,}",
        ]

    heads = ("Step, ms", "Images/s", "GFLOP/s", "Matmul GFLOP/s", "Of the peak", "Compile, s", "Memory, MiB")
    path = results_dir / scale / "benchmark.csv"
    return _table(path, heads, cells) + _machines(path)


def parts(results_dir: Path, scale: str) -> str:
    """What share of the step its parts take."""

    def cells(row: Row) -> list[str]:
        return [f"{float(row[f'{part}_s']) / float(row['step_s']):.0%}" for part in PARTS]

    return _table(results_dir / scale / "benchmark.csv", [part.capitalize() for part in PARTS], cells)


def ratios(results_dir: Path, scale: str) -> str:
    """How many times as much as CAN SimCLR takes: counted, measured, and the one as a share of the other."""

    def cells(row: Row) -> list[str]:
        flops, time = float(row["simclr_flops_ratio"]), float(row["simclr_time_ratio"])
        return [f"{flops:.2f}", f"{time:.2f}", f"{time / flops:.0%}"]

    def shown(row: Row) -> bool:
        return row["method"] == "can" and bool(row.get("simclr_time_ratio"))

    heads = ("SimCLR/CAN, FLOPs", "SimCLR/CAN, time", "Realised")
    return _table(results_dir / scale / "benchmark.csv", heads, cells, shown)


def peers(results_dir: Path, scale: str) -> str:
    """Our step and PyTorch's."""

    def cells(row: Row) -> list[str]:
        ratio = f"{float(row['speedup']):.2f} ± {float(row['speedup_iqr']):.2f}"
        return [_step(row, "ours"), _step(row, "theirs"), ratio]

    heads = ("Ours, ms", "PyTorch, ms", "PyTorch / ours")
    path = results_dir / scale / "benchmark_peers.csv"
    return _table(path, heads, cells) + _machines(path)


def jobs(results_dir: Path, scale: str) -> str:
    """One run on all cores, and several at a time, each on cores of its own."""

    def cells(row: Row) -> list[str]:
        return [
            _step(row, "alone"),
            f"{float(row['share_of_peak_alone']):.0%}",
            row["jobs"],
            _step(row, "together"),
            f"{float(row['share_of_peak']):.0%}",
            f"{float(row['images_per_s']):,.0f}",
            f"{float(row['speedup']):.2f}",
        ]

    heads = ("One run, ms", "Of the peak", "Runs", "Each, ms", "All, of the peak", "Images/s", "All / one")
    path = results_dir / scale / "benchmark_jobs.csv"
    return _table(path, heads, cells) + _machines(path)


def first_step(results_dir: Path, scale: str) -> str:
    """A start with nothing compiled, and one with everything compiled."""
    path = results_dir / scale / "first_step.csv"
    starts = read_rows(path)
    if not starts:
        return _missing(path)
    rows = [
        [NAMES[row["method"]], row["model"], f"{float(row['cold_s']):.1f}", f"{float(row['warm_s']):.1f}"]
        for row in starts
    ]
    return to_markdown(Table(["Method", "Model", "First start, s", "Second, s"], [False, False, True, True], rows))


TABLES: dict[str, Callable[[Path, str], str]] = {
    "speed": speed,
    "parts": parts,
    "ratios": ratios,
    "peers": peers,
    "jobs": jobs,
    "first_step": first_step,
}


def _table(
    path: Path,
    heads: Sequence[str],
    cells: Callable[[Row], list[str]],
    shown: Callable[[Row], bool] = lambda row: True,
) -> str:
    """A line for each row of the CSV, its setting first."""
    measured = read_rows(path)
    if not measured:
        return _missing(path)
    rows = [[*_setting(row), *cells(row)] for row in measured if shown(row)]
    columns = ["Method", "Model", "Layers", "Pixels", "Batch", *heads]
    return to_markdown(Table(columns, [False, False, *[True] * (len(columns) - 2)], rows))


def _machines(path: Path) -> str:
    """On what the rows of the CSV were measured, a paragraph to put below their table."""
    machines = dict.fromkeys(f"{row['cpus']} cores of {row['cpu']}" for row in read_rows(path))
    return f"\n\nMeasured on {', '.join(machines)}." if machines else ""


def _setting(row: Row) -> list[str]:
    options = [] if row["dtype"] == "float32" else [row["dtype"]]
    options += [] if row["remat"] == "none" else [f"remat {row['remat']}"]
    options += [] if row["scan_unroll"] == "1" else [f"{row['scan_unroll']} blocks unrolled"]
    model = ", ".join([row["model"], *options])
    layers = row["depth"] if row["method"] == "simclr" else f"{row['depth']} + {row['decoder_depth']}"
    return [NAMES[row["method"]], model, layers, row["image_size"], row["batch_size"]]


def _missing(path: Path) -> str:
    script, mode = {
        "benchmark.csv": ("speed", ""),
        "benchmark_peers.csv": ("speed", " --peer=torch"),
        "benchmark_jobs.csv": ("speed", " --jobs=2"),
        "first_step.csv": ("start", ""),
    }[path.name]
    return f"– (not measured: `python experiments/benchmarks/{script}.py --scale={path.parent.name}{mode}`)"


def _step(row: Row, side: str) -> str:
    """Median and spread of a step's time."""
    return f"{_milliseconds(float(row[f'{side}_s']))} ± {_milliseconds(float(row[f'{side}_iqr_s']))}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}" if seconds >= 0.1 else f"{seconds * 1000:.1f}"
