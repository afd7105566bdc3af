"""The tables of memory and input, of what experiments/benchmarks/ measures: `memory.py`, `input.py`, `loader.py`."""

from __future__ import annotations

import pandas as pd

from analysis.lib.benchmarks.table import BenchmarkTable, table_rows
from analysis.lib.documents import NONE

MODELS = {"vit_b": "ViT-B", "vit_l": "ViT-L"}
PIPELINES = {
    "ours": "ours",
    "pillow": "Pillow, one decoding for both views",
    "pillow_twice": "Pillow, a decoding for each view",
}


def memory_options(rows: pd.DataFrame) -> pd.DataFrame:
    """One device: what each option leaves of the memory of float32 without any of them."""
    rows = rows[rows["devices"] == 1]
    plain = rows.query("dtype == 'float32' and remat == 'none' and accumulate == 1 and scan_unroll == 1")
    reference = plain.set_index(["model", "batch_size"])["peak"].to_dict()

    def share(model: str, batch_size: int, peak: int) -> str:
        whole = reference.get((model, batch_size))
        return f"{peak / whole:.0%}" if whole else NONE

    return table_rows(
        rows,
        lambda row: {
            "Model": MODELS[row.model],
            "Batch": row.batch_size,
            "Type": row.dtype,
            "Remat": row.remat,
            "Parts": row.accumulate,
            "Scan": "yes" if row.scan_unroll == 1 else "no",
            "Temporaries, GB": _gigabytes(row.temporaries),
            "Peak, GB": _gigabytes(row.peak),
            "Of the plain step": share(row.model, row.batch_size, row.peak),
        },
    )


def memory(rows: pd.DataFrame) -> pd.DataFrame:
    """Of `memory_options`, those of ViT-L in float32."""
    return memory_options(rows).query("Model == 'ViT-L' and Type == 'float32'")


def memory_pod(rows: pd.DataFrame) -> pd.DataFrame:
    """The whole batch over many devices: gigabytes of one of them."""
    return table_rows(
        rows[rows["devices"] > 1].sort_values("devices", kind="stable"),
        lambda row: {
            "Model": MODELS[row.model],
            "Batch": row.batch_size,
            "Devices": row.devices,
            "Parameters": "shared" if row.fsdp > 1 else "copied",
            "Remat": row.remat,
            "Parts": row.accumulate,
            "State, GB": _gigabytes(row.arguments),
            "Temporaries, GB": _gigabytes(row.temporaries),
            "Peak, GB": _gigabytes(row.peak),
        },
    )


def input_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Photos a second and core, and how many times as fast ours is."""
    return table_rows(
        rows,
        lambda row: {
            "Pipeline": PIPELINES[row.pipeline],
            "Photos/s, median": f"{row.photos_per_second:.0f}",
            "All rounds": f"{row.lowest:.0f} to {row.highest:.0f}",
            "Ours / this": f"{row.ours_is_faster:.2f}",
        },
    )


def loader(rows: pd.DataFrame) -> pd.DataFrame:
    """Images a second of the training loader on all cores, and its peak memory early and late."""
    return table_rows(
        rows,
        lambda row: {
            "Data": row.data,
            "Cores": row.cpus,
            "Images": f"{row.images:,}",
            "Images/s": f"{row.images_per_s:,.0f}",
            "Peak after a tenth, MB": f"{row.peak_mb_of_a_tenth:,}",
            "Peak after all, MB": f"{row.peak_mb:,}",
        },
    )


_MEMORY = "python experiments/benchmarks/memory.py"
_INPUT = "python experiments/benchmarks/input.py --folder=PHOTOS.zip"
_LOADER = "python experiments/benchmarks/loader.py"
TABLES = {
    "memory": BenchmarkTable("Memory of ViT-L's training step", "memory.csv", _MEMORY, memory, 6),
    "memory_options": BenchmarkTable("Memory of the options", "memory.csv", _MEMORY, memory_options, 6),
    "memory_pod": BenchmarkTable("Memory of the whole batch on many devices", "memory.csv", _MEMORY, memory_pod, 6),
    "input_rates": BenchmarkTable("Photos a second and core", "input.csv", _INPUT, input_rates, 1),
    "loader": BenchmarkTable("The training loader", "loader.csv", _LOADER, loader, 1),
}


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.2f}"
