"""`evaluate.py` on a run by its name alone, and on checkpoints that are kept."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import Commands, Done

ROOMS = ("data_dir", "results_dir", "workdir")


@pytest.fixture(scope="module")
def rooms(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run called `own`, of settings that are not the scale's, with checkpoints of steps 2 and 4."""
    root = tmp_path_factory.mktemp("own")
    places = ["--scale=smoke", "--name=own", *(f"--{room}={root / room}" for room in ROOMS)]
    lengths = ["--max_steps=4", "--batch_size=8", "--log_every=2", "--keep_every=2", "--probe_every=4"]
    done = commands(
        "experiments/pretrain.py", *places, *lengths, "--method=mae", "--mask_rate=0.5", "--model=vit_l", "--seed=1"
    )
    assert done.returncode == 0, done.stderr
    assert "knn_top1 0." in done.stderr and "effective_rank" in done.stderr  # on the line of the last step
    return root, places


def evaluated(commands: Commands, places: list[str], *flags: str) -> Done:
    return commands("experiments/evaluate.py", *places, "--eval=knn", *flags)


def test_a_name_is_enough_to_evaluate_a_run_with_its_own_configuration(commands: Commands, rooms) -> None:
    root, places = rooms
    done = evaluated(commands, places, "--method=mae", "--mask_rate=0.5")
    assert done.returncode == 0, done.stderr
    again = evaluated(commands, places)
    assert again.stdout.splitlines()[:2] == done.stdout.splitlines()[:2]
    assert again.stdout.startswith("own knn top1 ")
    records = json.loads((root / "results_dir/smoke/own/eval-knn.json").read_text())["records"]
    assert records[0]["seed"] == 1


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("--method=can", "method.name: mae (on disk) != can (asked)"),
        ("--mask_rate=0.25", "method.mask_rate: 0.5 (on disk) != 0.25 (asked)"),
        ("--seed=2", "seed: 1 (on disk) != 2 (asked)"),
    ],
)
def test_a_flag_that_says_otherwise_than_the_run_is_shown(commands: Commands, rooms, flag: str, line: str) -> None:
    done = evaluated(commands, rooms[1], flag)
    assert (done.returncode, line in done.stderr) == (1, True)
    assert "base_lr" not in done.stderr  # which follows from the method, and nobody asked for


def test_a_kept_checkpoint_is_judged_by_itself(commands: Commands, rooms) -> None:
    """The last one as the run itself is, an earlier one otherwise; neither is taken for the run's own evaluation."""
    root, places = rooms
    whole = evaluated(commands, places)
    first, last = evaluated(commands, places, "--step=2"), evaluated(commands, places, "--step=4")
    assert first.stdout.startswith("own step 2 knn top1 ")
    assert last.stdout.splitlines()[0] == whole.stdout.splitlines()[0].replace("own", "own step 4")
    results = root / "results_dir/smoke/own"
    of = {
        name: json.loads((results / name / "eval-knn.json").read_text())["fingerprints"]["weights"]
        for name in (".", "step-2", "step-4")
    }
    assert of["step-4"] == of["."] != of["step-2"]
    assert "has its knn already" in evaluated(commands, places, "--step=2").stderr
    assert json.loads((results / "provenance.json").read_text())["weights"] == of["."]


def test_a_step_that_is_not_kept_names_those_that_are(commands: Commands, rooms) -> None:
    root, places = rooms
    done = evaluated(commands, places, "--step=3")
    assert "own has no checkpoint of step 3" in done.stderr and "(it has: 2, 4)" in done.stderr
    assert "--keep_every" in done.stderr
    assert not (root / "results_dir/smoke/own/step-3").exists()


def test_pictures_of_a_kept_checkpoint_are_its_own(commands: Commands, rooms) -> None:
    root, places = rooms
    for name, flags in {"2": ["--step=2"], "4": ["--step=4"], "whole": []}.items():
        done = commands("experiments/show.py", *places, "--count=2", *flags, f"--out={root / name}.png")
        assert done.returncode == 0, done.stderr
    step2, step4, whole = (cv2.imread(str(root / f"{name}.png")) for name in ("2", "4", "whole"))
    pictures = slice(step4.shape[0] // 3, None)  # below the heading, which names the step
    np.testing.assert_array_equal(step4[pictures], whole[pictures])
    assert (step2[pictures] != whole[pictures]).any()
