"""Appendix B: the paper's arithmetic, the speed of a TPU in it, and the time at measured speeds."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from invented import cells

from analysis import make_appendix_b
from can.commands.setting import PUBLISHED
from can.errors import DataError

STEP = {"method": "can", "model": "L", "depth": 24, "decoder_depth": 8, "image_size": 224, "images_per_s": 100}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    shutil.copy(PUBLISHED / "flops.csv", tmp_path)
    return tmp_path


def timed(published: Path, scale: str, **row: object) -> None:
    rows = [STEP | {"cpus": 4, "cpu": "Chip", "gflops_per_s": 1e6} | row, STEP | {"method": "simclr"}]
    (published / scale).mkdir()
    pd.DataFrame(rows).to_csv(published / scale / "speed.csv", index=False)


def test_the_papers_numbers_give_what_it_concludes(published: Path) -> None:
    text = make_appendix_b.pages(published)["appendix_b.md"]
    # 78 × 64 and 29 × 512 hours; 3000 × 1,281,167 images in them.
    assert cells(text, "CAN")[1:] == ["ViT-L", "3000", "78", "64", "4,992", "13,688", "214"]
    assert cells(text, "DnC")[1:] == ["R50", "3000", "29", "512", "14,848", "36,815", "72"]
    assert "- CAN would take about 10 hours on 512 TPUs: it is 9.75." in text
    assert "about 3 times as fast as DnC on R50: it is 2.97." in text
    assert "25 of 300 million are 0.08." in text
    assert "takes 430 GFLOPs an image" in text and "a TPU did 92 TFLOP/s" in text and "1.65 · 10²¹ FLOPs" in text


def test_a_measured_machine_takes_the_runs_flops_at_its_speed(published: Path) -> None:
    assert "measured here" not in make_appendix_b.pages(published)["appendix_b.md"]
    timed(published, "gpu", gflops_per_s=1e6)
    made = make_appendix_b.pages(published)
    # 3.8435e9 images × 429.777e9 FLOPs / 1e15 a second = 1,651,850 s... in years of 31,557,600 s
    years = 3000 * 1281167 * 429777434311 / 1e15 / 31_557_600
    assert cells(made["appendix_b.md"], "gpu") == [
        "gpu",
        "L",
        "24 + 8",
        "224",
        "4 cores of Chip",
        "100.0",
        "1000000",
        "0",
    ]
    lines = list(csv.DictReader(io.StringIO(made["appendix_b.csv"])))
    assert [line["source"] for line in lines] == ["paper", "paper", "gpu"]  # no SimCLR
    assert float(lines[2]["years"]) == pytest.approx(years, rel=1e-4)


def test_without_counted_flops_it_says_how_to_count(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="make_flops"):
        make_appendix_b.pages(tmp_path)
