"""The tables of memory and input, as Markdown, from `memory.csv`, `input.csv` and `loader.csv` in results/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from analysis.lib.formats import Row, Table, read_rows, to_markdown

MODELS = {"vit_b": "ViT-B", "vit_l": "ViT-L"}
PIPELINES = {
    "ours": "ours",
    "pillow": "Pillow, one decoding for both views",
    "pillow_twice": "Pillow, a decoding for each view",
}


def memory_options(results_dir: Path) -> str:
    """One device: what each option leaves of the memory of float32 without any of them."""
    rows = [row for row in read_rows(results_dir / "memory.csv") if row["devices"] == "1"]
    plain = {(row["model"], row["batch_size"]): float(row["peak"]) for row in rows if _is_plain(row)}
    cells = []
    for row in rows:
        reference = plain.get((row["model"], row["batch_size"]))
        scan = "yes" if row["scan_unroll"] == "1" else "no"
        settings = [MODELS[row["model"]], row["batch_size"], row["dtype"], row["remat"], row["accumulate"], scan]
        share = f"{float(row['peak']) / reference:.0%}" if reference else "–"
        cells.append([*settings, _gigabytes(row["temporaries"]), _gigabytes(row["peak"]), share])
    columns = ("Model", "Batch", "Type", "Remat", "Parts", "Scan", "Temporaries, GB", "Peak, GB", "Of the plain step")
    return _table(columns, 6, cells, "python experiments/benchmarks/memory.py")


def memory_pod(results_dir: Path) -> str:
    """The whole batch over many devices: gigabytes of one of them."""
    cells = []
    for row in sorted(read_rows(results_dir / "memory.csv"), key=lambda row: int(row["devices"])):
        if row["devices"] == "1":
            continue
        layout = "shared" if int(row["fsdp"]) > 1 else "copied"
        settings = [MODELS[row["model"]], row["batch_size"], row["devices"], layout, row["remat"], row["accumulate"]]
        cells.append([*settings, _gigabytes(row["arguments"]), _gigabytes(row["temporaries"]), _gigabytes(row["peak"])])
    columns = ("Model", "Batch", "Devices", "Parameters", "Remat", "Parts", "State, GB", "Temporaries, GB", "Peak, GB")
    return _table(columns, 6, cells, "python experiments/benchmarks/memory.py")


def input_rates(results_dir: Path) -> str:
    """Photos a second and core, and how many times as fast ours is."""
    cells = [
        [
            PIPELINES[row["pipeline"]],
            f"{float(row['photos_per_second']):.0f}",
            f"{float(row['lowest']):.0f} to {float(row['highest']):.0f}",
            f"{float(row['ours_is_faster']):.2f}",
        ]
        for row in read_rows(results_dir / "input.csv")
    ]
    columns = ("Pipeline", "Photos/s, median", "All rounds", "Ours / this")
    return _table(columns, 1, cells, "python experiments/benchmarks/input.py --folder=PHOTOS.zip")


def loader(results_dir: Path) -> str:
    """Images a second of the training loader on all cores, and its peak memory early and late."""
    cells = [
        [
            row["data"],
            row["cpus"],
            f"{int(row['images']):,}",
            f"{float(row['images_per_s']):,.0f}",
            f"{int(row['peak_mb_of_a_tenth']):,}",
            f"{int(row['peak_mb']):,}",
        ]
        for row in read_rows(results_dir / "loader.csv")
    ]
    columns = ("Data", "Cores", "Images", "Images/s", "Peak after a tenth, MB", "Peak after all, MB")
    return _table(columns, 1, cells, "python experiments/benchmarks/loader.py")


TABLES: dict[str, Callable[[Path], str]] = {
    "memory_options": memory_options,
    "memory_pod": memory_pod,
    "input_rates": input_rates,
    "loader": loader,
}


def _is_plain(row: Row) -> bool:
    return (row["dtype"], row["remat"], row["accumulate"], row["scan_unroll"]) == ("float32", "none", "1", "1")


def _gigabytes(count: str) -> str:
    return f"{int(count) / 1e9:,.2f}"


def _table(columns: tuple[str, ...], names: int, rows: list[list[str]], command: str) -> str:
    """Of whose columns the first `names` are text, or how to measure what is not there."""
    if not rows:
        return f"– (not measured: `{command}`)"
    return to_markdown(Table(columns, [column >= names for column in range(len(columns))], rows))
