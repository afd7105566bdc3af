"""The table of tuned learning rates."""

import dataclasses
from pathlib import Path

from test_runs import changed

from analysis import make_tuning
from analysis.lib.tables import read_csv, to_csv
from can.methods import settings_class
from can.runs import Evaluated, RunDir


def trial(folder: Path, method: str, base_lr: float, top1: float) -> None:
    config = changed(optim__base_lr=base_lr, optim__batch_size=64, optim__total_steps=100)
    run = RunDir(folder, folder / "work", "laptop", f"{method}-lr{base_lr:g}-s0")
    run.claim(dataclasses.replace(config, method=settings_class(method)()))
    protocol = {"name": "linear_probe", "test": "fashion_mnist train[50000:]"}
    record = dict(metric="top1", value=top1, n=10, seed=0)
    Evaluated(protocol, {}, {}, [record]).write(run.eval_path("linear_probe"))


def test_each_method_has_its_best_rate_in_bold_and_gaps_where_it_was_not_tried(tmp_path: Path) -> None:
    trial(tmp_path, "simclr", 0.01, 0.5)
    trial(tmp_path, "can", 0.01, 0.7496)  # 75.0, too, but not the best
    trial(tmp_path, "can", 0.002, 0.75)
    trials = make_tuning.read_trials(tmp_path / "laptop")
    assert to_csv(trials).splitlines()[1] == "can,0.002,64,6400,0,fashion_mnist train[50000:],75.0"
    shown = make_tuning.table(trials)
    assert list(shown) == ["held-out top-1, %", "base_lr 0.002", "base_lr 0.01"]
    assert shown.to_numpy().tolist() == [
        ["CAN, 6,400 images", "**75.0**", "75.0"],
        ["SimCLR, 6,400 images", "–", "**50.0**"],
    ]


def test_the_published_trials_are_those_of_the_published_runs() -> None:
    folder = make_tuning.RESULTS / "published" / "tuning" / "laptop"
    assert to_csv(make_tuning.read_trials(folder)) == to_csv(read_csv(folder / "learning_rates.csv"))


def test_without_trials_the_published_ones_are_shown_and_the_command_that_makes_some(
    run_python, tmp_path: Path
) -> None:
    script = Path(make_tuning.__file__)
    done = run_python(script, f"--results_dir={tmp_path}")
    assert "tune_laptop.sh" in done.stdout and "\nPublished:\n" in done.stdout and "| CAN, 19,968 images" in done.stdout
    failed = run_python(script, f"--results_dir={tmp_path}", "--scale=paper", check=False)
    assert failed.returncode == 1 and failed.stderr.count("\n") == 1 and "tune_laptop.sh" in failed.stderr
