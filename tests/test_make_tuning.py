"""The table of tuned learning rates."""

import dataclasses
from pathlib import Path

import pytest
from test_runs import changed

from analysis import make_tuning
from can.errors import DataError
from can.methods import settings_class
from can.runs import RunDir


def trial(folder: Path, method: str, base_lr: float, top1: float) -> None:
    config = changed(optim__base_lr=base_lr, optim__batch_size=64, optim__total_steps=100)
    run = RunDir(folder, folder / "work", "laptop", f"{method}-lr{base_lr:g}-s0")
    run.claim(dataclasses.replace(config, method=settings_class(method)()))
    protocol = {"name": "linear_probe", "test": "fashion_mnist train[50000:]"}
    run.write_eval("linear_probe", [dict(metric="top1", value=top1, n=10, seed=0, protocol=protocol)])


def test_each_method_has_its_best_rate_in_bold_and_gaps_where_it_was_not_tried(tmp_path: Path) -> None:
    trial(tmp_path, "simclr", 0.01, 0.5)
    trial(tmp_path, "can", 0.01, 0.25)
    trial(tmp_path, "can", 0.002, 0.75)
    lines = make_tuning.render(tmp_path, "laptop").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["held-out top-1, %", "base_lr 0.002", "base_lr 0.01"]
    assert cells[2:] == [["CAN, 6,400 images", "**75.0**", "25.0"], ["SimCLR, 6,400 images", "–", "**50.0**"]]
    assert (tmp_path / "laptop" / "learning_rates.csv").read_text().splitlines()[1] == (
        "can,0.002,64,6400,0,fashion_mnist train[50000:],75.0"
    )


def test_without_trials_it_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tune_laptop\.sh"):
        make_tuning.render(tmp_path, "laptop")
