"""Any damage to a checkpoint is noticed, and training goes on from the one before to the same numbers."""

from __future__ import annotations

import contextlib
import csv
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

from can import data, train, trained, training_step
from can.config import AugmentConfig, DataConfig, OptimConfig, RunConfig
from can.errors import UserError
from can.methods import settings_class
from can.models import model_config
from can.runs import RunDir, checkpoint
from can.runs.checkpoint import Checkpoints

Damage = Callable[[Path], Any]


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def files_of(checkpoint: Path) -> list[Path]:
    return [path for path in sorted(checkpoint.rglob("*")) if path.is_file() and path.stat().st_size]


def weights_of(checkpoint: Path) -> Path:
    return max(files_of(checkpoint), key=lambda path: path.stat().st_size)


def state(step: int) -> dict[str, jax.Array]:
    return {"x": jnp.asarray(np.random.default_rng(step).standard_normal((40, 40))), "step": jnp.int32(step)}


def assert_is(restored: Any, step: int) -> None:
    assert restored is not None and restored[1] == step
    jax.tree.map(np.testing.assert_array_equal, restored[0], state(step))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With checkpoints of the steps 1 and 2."""
    with Checkpoints(tmp_path / "c") as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step))
    return tmp_path / "c"


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Those about damaged checkpoints; orbax has others."""
    lines: list[str] = []

    def keep(text: str, *values: Any) -> None:
        if "is damaged" in (line := text % values):
            lines.append(line)

    monkeypatch.setattr(logging, "warning", keep)
    return lines


@pytest.mark.parametrize("damage", [flip_a_byte, cut_short, Path.unlink])
def test_any_damage_to_any_file_is_noticed_and_the_checkpoint_before_is_used(
    damage: Damage, folder: Path, tmp_path: Path, warnings: list[str]
) -> None:
    paths = files_of(folder / "2")
    assert {path.name for path in paths} >= {"_METADATA", "_sharding", "manifest.ocdbt"} and len(paths) >= 9
    for number, path in enumerate(paths):
        copy = shutil.copytree(folder, tmp_path / str(number))
        damage(copy / path.relative_to(folder))
        warnings.clear()
        restored = Checkpoints(copy).restore(state(0))
        assert restored is not None
        if path.parent == folder / "2" and not (path.name == "SHA256SUMS" and damage is not Path.unlink):
            assert_is(restored, restored[1])  # noticed, or harmless: nothing of the state is read from these files
            continue
        assert_is(restored, 1)
        (line,) = warnings
        assert str(copy / "2") in line and "going on from step 1" in line
        assert path.name == "SHA256SUMS" or path.relative_to(folder / "2").as_posix() in line


def test_no_flipped_byte_of_the_weights_goes_unnoticed(folder: Path) -> None:
    """Orbax alone reads other weights, and says nothing."""
    path = weights_of(folder / "2")
    content = path.read_bytes()
    for place in range(0, len(content), len(content) // 20):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :])
        assert_is(Checkpoints(folder).restore(state(0)), 1)
    path.write_bytes(content)
    assert_is(Checkpoints(folder).restore(state(0)), 2)


def test_the_checksums_can_be_checked_with_sha256sum(folder: Path) -> None:
    def check() -> int:
        return subprocess.run(
            ["sha256sum", "-c", "SHA256SUMS"], cwd=folder / "2", capture_output=True, check=False
        ).returncode

    assert check() == 0
    flip_a_byte(weights_of(folder / "2"))
    assert check() != 0


def test_when_all_are_damaged_it_says_which_and_what_to_do(folder: Path) -> None:
    for step in (1, 2):
        flip_a_byte(weights_of(folder / str(step)))
    with pytest.raises(
        UserError,
        match=r"every checkpoint in .* is damaged \(2: state/.*, 1: state/.*\): put a copy back",
    ):
        Checkpoints(folder).restore(state(0))
    assert Checkpoints(folder).steps == [1, 2]


@pytest.mark.parametrize("next_step", [2, 3])
def test_the_damaged_checkpoint_makes_room_for_the_next(folder: Path, next_step: int) -> None:
    """Else it would count among the two latest, and the sound one go."""
    flip_a_byte(weights_of(folder / "2"))
    with Checkpoints(folder) as checkpoints:
        assert_is(checkpoints.restore(state(0)), 1)
        assert checkpoints.steps == [1, 2]  # reading changes nothing
        checkpoints.save(next_step, state(next_step), wait=True)
        assert checkpoints.steps == [1, next_step]
    assert_is(Checkpoints(folder).restore(state(0)), next_step)


def test_an_object_that_saved_before_notices_the_damage_too(folder: Path) -> None:
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(3, state(3), wait=True)
        flip_a_byte(weights_of(folder / "3"))
        assert_is(checkpoints.restore(state(0)), 2)
        checkpoints.save(3, state(3))
    assert_is(Checkpoints(folder).restore(state(0)), 3)


def test_of_one_step_that_is_asked_for_no_other_is_read(folder: Path, warnings: list[str]) -> None:
    """An evaluation of the trained weights must not get those of an earlier step."""
    checkpoints = Checkpoints(folder)
    assert checkpoints.restore_part("x", example=state(0)["x"], step=3) is None
    flip_a_byte(weights_of(folder / "2"))
    with pytest.raises(UserError, match=r"/2 is damaged \(.*\): put a copy back if .* if not, delete that"):
        checkpoints.restore_part("x", example=state(0)["x"], step=2)
    found = checkpoints.restore_part("x", example=state(0)["x"], step=1)
    assert found is not None and found[1] == 1
    np.testing.assert_array_equal(found[0], state(1)["x"])
    assert warnings == []


def test_a_checkpoint_of_another_model_is_not_damaged(tmp_path: Path) -> None:
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state(1))
        checkpoints.save(2, {"x": jnp.zeros(3)})
    with pytest.raises(UserError, match="/2 is of another model"):
        Checkpoints(tmp_path).restore(state(0))


def test_checkpoints_from_before_there_were_checksums_are_used_if_they_can_be_read(folder: Path) -> None:
    for step in (1, 2):
        (folder / str(step) / "SHA256SUMS").unlink()
    assert_is(Checkpoints(folder).restore(state(0)), 2)
    cut_short(folder / "2" / "state" / "_METADATA")
    assert_is(Checkpoints(folder).restore(state(0)), 1)


def test_an_old_checkpoint_whose_deletion_was_interrupted_goes_with_the_next_save(folder: Path) -> None:
    for path in files_of(folder / "1"):
        path.unlink()
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(3, state(3))
    assert Checkpoints(folder).steps == [2, 3]
    assert_is(Checkpoints(folder).restore(state(0)), 3)


def test_a_disk_that_is_full_when_the_checksums_are_written_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1), wait=True)

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="the disk is full"):
        patch.setattr(checkpoint, "write_checksums", full)
        checkpoints.save(2, state(2), wait=True)
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    checkpoints.save(2, state(2))
    checkpoints.close()
    assert_is(checkpoints.restore(state(0)), 2)


def nano_config(seed: int = 0) -> RunConfig:
    return RunConfig(
        scale="smoke",
        epochs=1,
        seed=seed,
        model=model_config(
            "nano", 14, width=16, heads=2, depth=1, mlp_dim=32, decoder_width=8, decoder_heads=2, decoder_depth=1
        ),
        method=settings_class("mae")(),
        augment=AugmentConfig("none"),
        data=DataConfig("smoke"),
        optim=OptimConfig(base_lr=0.1, weight_decay=0.05, batch_size=16, total_steps=4, warmup_steps=1),
    )


def rows_of(log: Path) -> list[dict[str, str]]:
    return [{name: row[name] for name in row if name != "images_per_second"} for row in csv.DictReader(log.open())]


@pytest.mark.usefixtures("one_training_step")
def test_a_training_whose_latest_checkpoint_is_damaged_ends_with_the_same_numbers(
    tmp_path: Path, warnings: list[str]
) -> None:
    """One flipped byte in each file of the checkpoint of step 4 in turn: training goes on from step 2."""
    config, images = nano_config(), data.load("smoke", "train", data_dir=tmp_path)

    def pretrain(run: RunDir) -> tuple[Any, list[dict[str, str]]]:
        train.pretrain(config, run, images, checkpoint_every=2, log_every=1)
        restored = Checkpoints(run.checkpoints).restore(training_step.abstract_state(config)[1])
        assert restored is not None and restored[1] == 4
        return restored[0], rows_of(run.results / "train.csv")

    whole = RunDir(tmp_path / "results", tmp_path / "whole", "smoke", "run")
    expected = pretrain(whole)
    assert Checkpoints(whole.checkpoints).steps == [2, 4]
    for number, path in enumerate(files_of(whole.checkpoints / "4")):
        run = RunDir(tmp_path / "results", tmp_path / str(number), "smoke", "run")
        shutil.copytree(whole.work, run.work)
        flip_a_byte(run.checkpoints / path.relative_to(whole.checkpoints))
        noticed = path.name == "SHA256SUMS" or path.parent != whole.checkpoints / "4"  # see above
        with pytest.raises(UserError, match="state/4 is damaged") if noticed else contextlib.nullcontext():
            trained.load_encoder(config, run)
        warnings.clear()
        found = pretrain(run)
        assert len(warnings) == noticed
        jax.tree.map(np.testing.assert_array_equal, found[0], expected[0])
        assert found[1] == expected[1]
        assert [row["step"] for row in found[1]] == ["1", "2", "3", "4"]


OWNER = {"run": "a", "weights_of": "a", "seed": 0, "config": {"method": {"mask_rate": 0.5}}}


def saved_by(folder: Path, owner: Any, steps: tuple[int, ...] = (1, 2)) -> Path:
    with Checkpoints(folder, owner=owner) as checkpoints:
        for step in steps:
            checkpoints.save(step, state(step), files={"train.csv": b"step\n%d\n" % step})
    return folder


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (OWNER | {"seed": 1}, "seed is 1 there and 0 here"),
        (OWNER | {"weights_of": "b"}, "weights_of is b there and a here"),
        (OWNER | {"config": {"method": {"mask_rate": 0.75}}}, "config.method.mask_rate is 0.75 there and 0.5 here"),
    ],
    ids=["seed", "weights from elsewhere", "mask rate"],
)
def test_a_checkpoint_of_another_run_is_refused_and_the_older_right_one_is_used(
    other: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sound, and of the same shapes: only what it says of itself tells."""
    lines: list[str] = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: lines.append(text % values))
    own, others = saved_by(tmp_path / "own", OWNER), saved_by(tmp_path / "others", other)
    shutil.rmtree(own / "2")
    shutil.copytree(others / "2", own / "2")
    with pytest.raises(UserError, match="2 is not this run's .*: move what is another's to where it belongs"):
        Checkpoints(own, owner=OWNER).restore_part("x", example=state(0)["x"], step=2)
    with Checkpoints(own, owner=OWNER) as checkpoints:
        assert_is(checkpoints.restore(state(0)), 1)
        assert [line for line in lines if told in line and "going on from step 1" in line]
        checkpoints.save(2, state(2), wait=True)
    assert_is(Checkpoints(own, owner=OWNER).restore(state(0)), 2)
    assert_is(Checkpoints(others, owner=other).restore(state(0)), 2)
    assert (own / "2.other0" / "SHA256SUMS").exists()  # somebody may miss it


def test_a_run_whose_name_is_another_now_reads_its_checkpoints(tmp_path: Path, warnings: list[str]) -> None:
    folder = saved_by(tmp_path, OWNER)
    assert_is(Checkpoints(folder, owner=OWNER | {"run": "b"}).restore(state(0)), 2)
    assert warnings == []


def test_checkpoints_that_are_exchanged_are_refused_whoever_reads_them(tmp_path: Path) -> None:
    folder = saved_by(tmp_path, OWNER)
    for old, new in (("1", "x"), ("2", "1"), ("x", "2")):
        (folder / old).rename(folder / new)
    for owner in (OWNER, None):
        with pytest.raises(UserError, match=r"2 is not this run's \(step is 1 there and 2 here\), 1 is not .*: move"):
            Checkpoints(folder, owner=owner).restore(state(0))


def test_what_a_checkpoint_says_of_itself_is_under_its_checksums(tmp_path: Path, warnings: list[str]) -> None:
    folder = saved_by(tmp_path, OWNER)
    path = folder / "2" / "run" / "run.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    assert_is(Checkpoints(folder, owner=OWNER).restore(state(0)), 1)
    assert "run/run.json is not what was written" in warnings[0]


def test_a_checkpoint_of_an_earlier_version_says_nothing_of_itself_and_is_read(tmp_path: Path) -> None:
    folder = saved_by(tmp_path, OWNER)
    for step in ("1", "2"):
        shutil.rmtree(folder / step / "run")
        sums = folder / step / "SHA256SUMS"
        sums.write_text("".join(line for line in sums.read_text().splitlines(True) if "  run/" not in line))
    checkpoints = Checkpoints(folder, owner=OWNER | {"seed": 7})
    assert_is(checkpoints.restore(state(0)), 2)
    assert not checkpoints.bring_back(tmp_path / "work", "train.csv") and not (tmp_path / "work").exists()


def test_the_files_that_go_with_the_checkpoint_that_is_used_are_brought_back(tmp_path: Path) -> None:
    folder = saved_by(tmp_path / "c", OWNER)
    flip_a_byte(weights_of(folder / "2"))
    checkpoints = Checkpoints(folder, owner=OWNER)
    assert_is(checkpoints.restore(state(0)), 1)
    (tmp_path / "train.csv").write_text("step\n1\n2\n7\n")
    assert checkpoints.bring_back(tmp_path, "train.csv", "no such file")
    assert (tmp_path / "train.csv").read_text() == "step\n1\n"


@pytest.mark.parametrize("name", [".DS_Store", "state/.DS_Store", "state/d/Thumbs.db", "run/._run.json", "desktop.ini"])
def test_what_file_managers_leave_in_a_checkpoint_is_no_damage(name: str, folder: Path, warnings: list[str]) -> None:
    (folder / "2" / name).write_bytes(b"\0\0\0\1Bud1")
    assert_is(Checkpoints(folder).restore(state(0)), 2)
    (folder / "2" / "state" / "more").write_text("of a program that we do not know")
    assert_is(Checkpoints(folder).restore(state(0)), 1)
    assert "state/more is not in SHA256SUMS" in warnings[0]


def test_a_file_with_a_number_for_its_name_is_no_checkpoint_and_one_may_be_a_link(folder: Path) -> None:
    (folder / "30").write_text("a note")
    (folder / "2").rename(folder.parent / "elsewhere")
    (folder / "2").symlink_to(folder.parent / "elsewhere")
    (folder / "31").symlink_to(folder.parent / "nowhere")
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps == [1, 2]
        assert_is(checkpoints.restore(state(0)), 2)
        for step in (30, 31):
            checkpoints.save(step, state(step))
    assert_is(Checkpoints(folder).restore(state(0)), 31)
    assert Checkpoints(folder).steps == [30, 31]
    assert (folder / "30.other0").read_text() == "a note"
    assert (folder.parent / "elsewhere" / "SHA256SUMS").exists()


@pytest.mark.usefixtures("one_training_step")
def test_a_training_that_lost_its_log_or_found_anothers_checkpoint_ends_with_the_same_numbers(tmp_path: Path) -> None:
    """Killed behind step 2, with harm to what lies beside the checkpoint; or with another seed's weights as step 4."""
    images = data.load("smoke", "train", data_dir=tmp_path)

    def pretrain(run: RunDir, seed: int = 0) -> list[dict[str, str]]:
        train.pretrain(nano_config(seed), run, images, checkpoint_every=2, log_every=1)
        return rows_of(run.results / "train.csv")

    whole = RunDir(tmp_path / "results", tmp_path / "whole", "smoke", "run")
    other = RunDir(tmp_path / "other_results", tmp_path / "other", "smoke", "run")
    expected, others = pretrain(whole), pretrain(other, seed=1)
    assert [row["step"] for row in expected] == ["1", "2", "3", "4"] and others != expected
    weights = whole.weights
    harms: list[Callable[[Path], Any]] = [
        lambda work: (work / "train.csv").unlink(),
        lambda work: (work / "train.csv").write_text(""),
        lambda work: cut_short(work / "train.csv"),
        lambda work: (work / "train.csv").write_text((work / "train.csv").read_text().replace("\n1,", "\n1,9")),
        lambda work: [(work / name).unlink() for name in ("clock.json", "skipped.json")],
        lambda work: [(work / name).write_text("{") for name in ("clock.json", "skipped.json")],
        lambda work: shutil.copytree(other.checkpoints / "4", work / "state" / "4"),
    ]
    for number, harm in enumerate(harms):
        run = RunDir(tmp_path / f"{number}results", tmp_path / str(number), "smoke", "run")
        shutil.copytree(whole.work, run.work)
        shutil.rmtree(run.checkpoints / "4")
        harm(run.work)
        assert pretrain(run) == expected
        assert run.weights == weights
