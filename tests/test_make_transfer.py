"""The tables of finetuning, few-shot and robustness."""

from pathlib import Path

import pytest
from test_make_table2 import cells, config

from analysis import make_transfer
from can.errors import DataError
from can.runs import RunDir


def add(results: Path, row: str, evaluation: str, seed: int = 0, **metrics: float) -> None:
    """Writes an evaluation of a run of `row`, such as can/vit_l/5000, with metrics in per cent; `__` stands for /."""
    method, model, epochs = row.split("/")
    run = RunDir(results, results.parent / "work", "laptop", f"{method}-{model.replace('_', '')}-jft-e{epochs}-s{seed}")
    run.claim(config(float(epochs), seed))
    protocol = {"name": evaluation}
    run.write_eval(
        evaluation,
        [
            dict(metric=metric.replace("__", "/"), value=value / 100, n=7, seed=seed, protocol=protocol)
            for metric, value in metrics.items()
        ],
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def test_finetuning_stands_beside_the_probe_and_is_compared_with_it_and_with_scratch(results: Path) -> None:
    for seed, top1 in enumerate((88, 90)):
        add(results, "can/vit_l/5000", "linear_probe", seed, top1=80)
        add(results, "can/vit_l/5000", "finetune", seed, top1=top1, top1_best=95)
        add(results, "random/vit_l/0", "finetune_scratch", seed, top1=89.5)
    text = make_transfer.render(results, "laptop")
    assert cells(text, "CAN", "ViT-L") == ["CAN", "ViT-L", "5000", "80.0 ± 0.0", "89.0 ± 1.4", "finetuned", "2"]
    assert cells(text, "random init") == ["random init", "ViT-L", "0", "–", "89.5 ± 0.0", "from scratch", "2"]
    assert "- CAN ViT-L: finetuning beats the linear probe, +9.0 points (spread 1.4, 2 seeds)." in text
    assert "finetuning is within the spread of training from scratch, -0.5 points (spread 1.4, 2 seeds)." in text
    assert (results / "laptop" / "transfer.md").read_text() == text
    assert "CAN,ViT-L,5000,1,finetune,top1,0.900000,7" in (results / "laptop" / "transfer.csv").read_text()


def test_few_shot_is_the_mean_over_the_sets_and_shown_for_each_set(results: Path) -> None:
    shots = {"digits__1shot": 20, "digits__1shot_sd": 1, "digits__10shot": 60, "digits__10shot_sd": 1}
    add(results, "mae/vit_l/5000", "few_shot", **shots, stamps__1shot=40, stamps__10shot=50)
    text = make_transfer.render(results, "laptop")
    mean, each = (line for line in text.splitlines() if line.startswith("| MAE"))
    assert [cell.strip() for cell in mean.split("|")[4:-1]] == ["30.0", "55.0", "1"]
    assert [cell.strip() for cell in each.split("|")[4:-1]] == ["60.0", "50.0"]


def test_robustness_has_a_column_a_set(results: Path) -> None:
    add(results, "can/vit_b/800", "robustness", clean__top1=90, sketch__top1=30, sketch__n=3)
    text = make_transfer.render(results, "laptop")
    assert cells(text, "Method") == ["Method", "Encoder", "Epochs", "clean", "sketch", "Seeds"]
    assert cells(text, "CAN") == ["CAN", "ViT-B", "800", "90.0", "30.0", "1"]


def test_without_evaluations_it_says_how_to_make_them(results: Path) -> None:
    with pytest.raises(DataError, match=r"transfer\.sh --scale=laptop"):
        make_transfer.render(results, "laptop")
