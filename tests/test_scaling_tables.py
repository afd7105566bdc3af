"""What follows from a step's operations for real devices, by numbers that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.lib.benchmarks.accelerators import H100, TPU_V5P
from analysis.lib.benchmarks.scaling import TABLES, papers_share_of_peak, sending_seconds
from experiments.benchmarks.hlo import KINDS

ROW = dict(model="vit_l", batch_size=4096, devices=64, fsdp=1, flops=16e12, memory=20e9)
ROW |= {f"{kind.replace('-', '_')}_{what}": 0 for kind in KINDS for what in ("operations", "bytes")}
ROW |= dict(all_reduce_operations=3, all_reduce_bytes=3.6e9)


def row(**changes: float) -> tuple:
    return next(pd.DataFrame([ROW | changes]).itertuples())


def test_eight_gpus_of_a_host_send_by_fast_links_and_share_the_network_beyond() -> None:
    assert sending_seconds(row(devices=8), H100) == pytest.approx(3.6 / 450)
    assert sending_seconds(row(devices=64), H100) == pytest.approx(3.6 / 450 + 3.6 / 8 / 50)
    assert sending_seconds(row(devices=512), TPU_V5P) == pytest.approx(3.6 / 300)  # all of a slice are near


def test_the_papers_run_computed_at_a_third_of_its_chips_peak() -> None:
    """3000 epochs of 1,281,167 images in 78 hours on 64 TPUs: 213.9 images a second and TPU, of 430 GFLOPs each."""
    assert papers_share_of_peak() == pytest.approx(213.9 * 430e9 / 275e12, rel=0.01)


def test_the_tables_say_what_a_device_computes_sends_and_takes(tmp_path: Path) -> None:
    pd.DataFrame([ROW, ROW | dict(devices=512, fsdp=8)]).to_csv(tmp_path / "scaling.csv", index=False)
    text = TABLES["scaling"].markdown(tmp_path)
    assert "All-reduce, GB" in text and "All-gather" not in text  # only what there is
    assert "| shared by 8 " in text and " 3.600 |" in text
    lines = [line for line in TABLES["scaling_predicted"].markdown(tmp_path).splitlines() if line.startswith("| H100")]
    cells = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    computing = 1000 * 16e12 / (989e12 * papers_share_of_peak())
    sending = 1000 * (3.6 / 450 + 3.6 / 400)
    assert cells[4:6] == [f"{computing:.1f}", f"{sending:.1f}"]
    assert cells[-2:] == [f"{computing / (computing + sending):.0%}", f"{computing / max(computing, sending):.0%}"]
