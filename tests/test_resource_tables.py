"""The tables of memory and input, and the CSV files they are made of."""

from __future__ import annotations

from pathlib import Path

from analysis.lib.benchmarks import resources
from experiments.benchmarks import input as input_benchmark
from experiments.benchmarks import loader as loader_benchmark
from experiments.benchmarks import measurement, memory


def table(name: str, results_dir: Path) -> list[list[str]]:
    lines = resources.TABLES[name].markdown(results_dir).split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_peak_counts_donated_buffers_once_and_shares_are_of_the_plain_step(tmp_path: Path) -> None:
    plain = memory.Layout("vit_b", 64, 1, 1, "float32", "none", 1, 1)
    small = memory.Layout("vit_b", 64, 1, 1, "bfloat16", "block", 4, 1)
    pod = memory.Layout("vit_l", 4096, 8, 8, "bfloat16", "block", 1, 1)
    big, little = memory.Memory(2 * 10**9, 2 * 10**9, 8 * 10**9, 10**9), memory.Memory(10**9, 10**9, 10**9, 10**9)
    assert big.peak == 11 * 10**9
    rows = {plain: big, small: little, pod: little}
    assert memory.measured(tmp_path / "memory.csv") == set()
    for layout, found in rows.items():
        memory.save(tmp_path / "memory.csv", layout, found)
    assert memory.measured(tmp_path / "memory.csv") == set(rows)
    assert table("memory_options", tmp_path) == [
        ["ViT-B", "64", "float32", "none", "1", "yes", "8.00", "11.00", "100%"],
        ["ViT-B", "64", "bfloat16", "block", "4", "yes", "1.00", "2.00", "18%"],
    ]
    assert table("memory_pod", tmp_path) == [["ViT-L", "4096", "8", "shared", "block", "1", "1.00", "1.00", "2.00"]]


def test_the_ratio_of_pipelines_is_the_median_of_the_rounds(tmp_path: Path) -> None:
    """Of each round's ratio, not the ratio of the medians: the machine may be slower in one round than in another."""
    rates = {"ours": [100.0, 30.0, 90.0], "pillow": [50.0, 10.0, 30.0], "pillow_twice": [20.0, 10.0, 30.0]}
    measurement.save(tmp_path / "input.csv", input_benchmark.rates_over_rounds(rates, 12), ["pipeline"])
    assert table("input_rates", tmp_path) == [
        ["ours", "90", "30 to 100", "1.00"],
        ["Pillow, one decoding for both views", "30", "10 to 50", "3.00"],
        ["Pillow, a decoding for each view", "20", "10 to 30", "3.00"],
    ]


def test_the_loader_is_measured_over_whole_batches(tmp_path: Path) -> None:
    row = loader_benchmark.measure("smoke", images=330, batch_size=32, workers=0, data_dir=str(tmp_path))
    assert (row["data"], row["images"]) == ("smoke", 320)
    assert row["images_per_s"] > 0
    assert 0 < row["peak_mb_of_a_tenth"] <= row["peak_mb"]
    fixed = row | dict(cpus=2, images_per_s=1234.5, peak_mb_of_a_tenth=900, peak_mb=1000)
    measurement.save(tmp_path / "loader.csv", [fixed], ("data", "workers"))
    assert table("loader", tmp_path) == [["smoke", "2", "320", "1,234", "900", "1,000"]]


def test_what_was_not_measured_is_said_with_its_command(tmp_path: Path) -> None:
    for name in ("memory", "memory_options", "memory_pod"):
        text = resources.TABLES[name].markdown(tmp_path)
        assert text == "– (not measured: `python experiments/benchmarks/memory.py`)"
    assert "benchmarks/input.py" in resources.TABLES["input_rates"].markdown(tmp_path)
    assert "benchmarks/loader.py" in resources.TABLES["loader"].markdown(tmp_path)
