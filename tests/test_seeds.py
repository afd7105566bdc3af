"""Seeds in one program: each is what it is alone, writes what it would write alone, and goes on alone and back."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from test_masked_training import tiny_config as tokens_config
from test_train import tiny_config

from can import data, train
from can.commands.scales import scale_named
from can.commands.setting import Setting
from can.commands.spec import Need, Spec
from can.config import AugmentConfig, RunConfig
from can.errors import ConfigError, UserError
from can.runs import RunDir
from can.runs.recorder import Recorder
from experiments.harness import plan, table


def of_seeds(folder: Path, config: RunConfig, *seeds: int) -> list[tuple[RunConfig, RunDir]]:
    return [(dataclasses.replace(config, seed=seed), RunDir(folder, folder, "smoke", f"s{seed}")) for seed in seeds]


def rows_of(run: RunDir) -> list[dict[str, float]]:
    rows = csv.DictReader((run.results / "train.csv").open())
    return [{name: float(value) for name, value in row.items() if name != "images_per_second"} for row in rows]


def assert_close(found: RunDir, expected: RunDir) -> None:
    ours, theirs = rows_of(found), rows_of(expected)
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)


def plain(method: str, **optim: float) -> RunConfig:
    """Without augmentation, whose compilation would take most of a test's time."""
    return dataclasses.replace(tiny_config(method, **optim), augment=AugmentConfig("none"))


LONG = [pytest.param(method, marks=pytest.mark.long) for method in ("supervised", "simclr", "mae")]  # parts of others


@pytest.mark.parametrize("method", ["can", "beit", *LONG])
def test_the_seeds_of_one_program_are_what_each_is_alone(method: str, tmp_path: Path) -> None:
    """Up to rounding: losses, norms, and the weights of two steps.

    Each has its own images, keys and checkpoints, and what its method prepares of its own key: BEiT's codebook.
    """
    how = dict(total_steps=2, warmup_steps=0, base_lr=1e-4)
    config = tokens_config(method) if method == "beit" else tiny_config(method)
    config = dataclasses.replace(config, optim=dataclasses.replace(config.optim, **how))
    images = data.load("smoke", "train", data_dir=tmp_path)
    together, alone = of_seeds(tmp_path / "together", config, 3, 4), of_seeds(tmp_path / "alone", config, 4)
    states = train.pretrain_seeds(together, images, log_every=1)
    expected = train.pretrain(*alone[0], images, log_every=1)
    for a, b in zip(jax.tree.leaves(states[1].params), jax.tree.leaves(expected.params), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    for a, b in zip(jax.tree.leaves(states[1].batch_stats), jax.tree.leaves(expected.batch_stats), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert_close(together[1][1], alone[0][1])
    first, second = (rows_of(run)[0]["loss"] for _, run in together)
    assert first != second
    said = json.loads((together[1][1].results / "provenance.json").read_text())
    assert said["seeds_at_once"] == [3, 4] and said["weights"]
    assert "seeds_at_once" not in json.loads((alone[0][1].results / "provenance.json").read_text())


@pytest.mark.usefixtures("one_training_step")
def test_a_seed_goes_on_alone_and_back_in_one_program_with_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between two rows; then one seed is trained on alone, to its end, and the other two stay together."""
    config = plain("mae", total_steps=5, warmup_steps=0)
    images = data.load("smoke", "train", data_dir=tmp_path)
    runs, whole = of_seeds(tmp_path / "a", config, 0, 1), of_seeds(tmp_path / "b", config, 0, 1)
    train.pretrain_seeds(whole, images, log_every=2)

    class Killed(Exception):
        pass

    write = Recorder.write

    def killed(recorder: Recorder, done: int, row: dict[str, float]) -> None:
        if done == 4:
            raise Killed
        write(recorder, done, row)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Recorder, "write", killed)
        train.pretrain_seeds(runs, images, log_every=2, checkpoint_every=2)
    assert [train.Checkpoints(run.checkpoints).latest_step for _, run in runs] == [2, 2]
    train.pretrain(*runs[0], images, log_every=2)
    train.pretrain_seeds(runs, images, log_every=2)  # one is done, the other goes on from step 2
    for (_, ours), (_, theirs) in zip(runs, whole, strict=True):
        assert_close(ours, theirs)


def test_a_seed_that_is_not_finite_leaves_the_others_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = plain("mae", total_steps=4, warmup_steps=0)
    runs = of_seeds(tmp_path, config, 0, 1)
    check = Recorder.check

    def broken(recorder: Recorder, steps: list[dict[str, float]], param_norm: float, done: int) -> None:
        bad = recorder.config.seed == 1 and done == 2
        check(recorder, steps, float("nan") if bad else param_norm, done)

    monkeypatch.setattr(Recorder, "check", broken)
    with pytest.raises(UserError, match="norm of the parameters became nan at step 2 of 4"):
        train.pretrain_seeds(runs, data.load("smoke", "train", data_dir=tmp_path), log_every=2)
    assert [train.Checkpoints(run.checkpoints).latest_step for _, run in runs] == [2, None]
    assert (runs[1][1].work / "failure.json").exists() and not (runs[0][1].work / "failure.json").exists()


def test_a_plan_has_the_seeds_of_a_row_together(tmp_path: Path) -> None:
    setting = Setting(scale_named("smoke"), results_dir=tmp_path, workdir=tmp_path)
    needs = [Need(Spec("can", "vit_b", "in1k", 100)), Need(Spec("mae", "vit_b", "in1k", 100))]
    tasks = plan.planned(needs, setting, [0, 1, 2])

    def seeds(at_once: int) -> list[tuple[str, list[int]]]:
        groups = plan.of_seeds(tasks, at_once)
        return [(group[0].run.spec.method, [task.run.config.seed for task in group]) for group in groups]

    assert seeds(9) == [("can", [0, 1, 2]), ("mae", [0, 1, 2])]
    assert seeds(2) == [("can", [0, 1]), ("can", [2]), ("mae", [0, 1]), ("mae", [2])]
    assert [task for group in plan.of_seeds(tasks, 1) for task in group] == list(tasks)


def test_how_many_seeds_a_program_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table.environment, "HAS_ACCELERATOR", False)
    assert table.seeds_at_once(None, 1) == 1 and table.seeds_at_once(3, 1) == 3
    monkeypatch.setattr(table.environment, "HAS_ACCELERATOR", True)
    assert table.seeds_at_once(None, 1) > 100
    for asked, jobs, message in ((0, 1, "--seeds_at_once"), (2, 2, "--jobs=1")):
        with pytest.raises(ConfigError, match=message):
            table.seeds_at_once(asked, jobs)
