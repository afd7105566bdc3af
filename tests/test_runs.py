"""Runs have readable, unique names; their folders are never mixed, and say what is done."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from can import files
from can.config import AugmentConfig, DataConfig, ModelConfig, OptimConfig, RunConfig
from can.errors import ConfigError, DataError, UserError
from can.methods import settings_class
from can.runs import RunDir, run_name, write_atomic, write_json
from can.runs.name import SHORT_NAMES, flatten
from can.runs.provenance import git_state, provenance

BASE = RunConfig(
    scale="laptop",
    epochs=100,
    seed=0,
    model=ModelConfig("nano", image_size=28, patch_size=4, width=64, depth=2, heads=2, mlp_dim=128),
    method=settings_class("can")(),
    augment=AugmentConfig(),
    data=DataConfig("fashion_mnist"),
    optim=OptimConfig(base_lr=1e-3, weight_decay=0.1, batch_size=256, total_steps=1000, warmup_steps=50),
)
RECORD = {"metric": "top1", "value": 81.25, "n": 10000, "seed": 0, "protocol": "Table 10"}


def changed(**overrides: Any) -> RunConfig:
    """BASE with fields given as `section__field=value`."""
    config = BASE
    for name, value in overrides.items():
        section, _, field = name.rpartition("__")
        if section:
            name, value = section, dataclasses.replace(getattr(config, section), **{field: value})
        config = dataclasses.replace(config, **{name: value})
    return config


def name_of(config: RunConfig, model_role: str = "vit_b", data_role: str = "in1k") -> str:
    return run_name(config, BASE, model_role, data_role)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "results", tmp_path / "checkpoints", "laptop", "can-vitb-in1k-e100-s0")


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ({}, "can-vitb-in1k-e100-s0"),
        ({"method__sigma_max": 0.1}, "can-vitb-in1k-e100-sigma0.1-s0"),
        ({"epochs": 0.5, "seed": 3}, "can-vitb-in1k-e0.5-s3"),
        (
            {"method__lambda_infonce": 0.06, "method__mask_rate": 0.75, "optim__base_lr": 2.5e-4},
            "can-vitb-in1k-e100-mask0.75-nce0.06-lr0.00025-s0",
        ),
        ({"optim__batch_size": 8, "optim__max_steps": 2}, "can-vitb-in1k-e100-bs8-max_steps2-s0"),
        ({"method__denoise_loss": False, "model__remat": "block"}, "can-vitb-in1k-e100-remat_block-no_denoise-s0"),
        ({"method__infonce_reduction": "sum"}, "can-vitb-in1k-e100-reduction_sum-s0"),
        ({"model__decoder_depth": 2}, "can-vitb-in1k-e100-decoder_depth2-s0"),
    ],
)
def test_a_name_reads_method_model_data_epochs_overrides_seed(overrides: dict[str, Any], name: str) -> None:
    assert name_of(changed(**overrides)) == name


def test_values_that_differ_in_a_late_digit_have_different_names() -> None:
    names = {name_of(changed(optim__base_lr=value)) for value in (1e-4, 1.0000001e-4, 1.00000001e-4)}
    assert len(names) == 3


def test_every_field_changes_the_name_in_its_own_way() -> None:
    fields = [field for field in flatten(BASE.to_dict()) if field not in ("scale", "method.name", "model.size")]
    parts = [SHORT_NAMES.get(field, field.rpartition(".")[2]) for field in fields]
    assert len(parts) == len(set(parts))
    assert set(SHORT_NAMES) <= set(fields)  # no entry for a field that was renamed


def test_names_of_many_overrides_fit_a_file_system_and_stay_apart() -> None:
    many = {
        f"model__{f.name}": getattr(BASE.model, f.name) * 2 for f in dataclasses.fields(ModelConfig) if f.type == "int"
    } | {"method__sigma_scale": 123.456789, "method__temperature": 0.123456789, "optim__clip_norm": 0.987654321}
    first, second = name_of(changed(**many)), name_of(changed(**(many | {"optim__clip_norm": 1.0})))
    assert len(first) < 250
    assert first != second


def test_folders_as_data_make_safe_names_that_tell_them_apart() -> None:
    one, other = name_of(BASE, "micro", "folder:/home/x/my pics"), name_of(BASE, "micro", "folder:/home/y/my pics")
    assert re.fullmatch(r"can-micro-folder_my_pics_[0-9a-f]{8}-e100-s0", one)
    assert one != other


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_role_makes_a_name_that_is_one_folder(model_role: str, data_role: str) -> None:
    name = name_of(BASE, model_role, data_role)
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", name)
    assert len(name) < 250
    assert name.count("-") == 4


@pytest.mark.parametrize("name", ["a/b", "..", "", ".hidden", "a b", "-s0", "a\n"])
def test_a_name_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="run name"):
        RunDir(tmp_path, tmp_path, "laptop", name)


def test_claiming_writes_the_config_and_claiming_again_is_harmless(run: RunDir) -> None:
    run.claim(BASE)
    (run.work / "kept").touch()
    run.claim(BASE)
    assert (run.work / "kept").exists()
    for folder in (run.results, run.work):
        assert RunConfig.from_dict(json.loads((folder / "config.json").read_text())) == BASE


@pytest.mark.parametrize("lost", ["results", "work"])
def test_a_changed_config_under_an_old_name_shows_each_difference(run: RunDir, lost: str) -> None:
    run.claim(BASE)
    (getattr(run, lost) / "config.json").unlink()  # one folder is enough to know
    with pytest.raises(ConfigError) as raised:
        run.claim(changed(optim__base_lr=0.002, method=settings_class("mae")()))
    text = str(raised.value)
    assert "optim.base_lr: 0.001 (on disk) != 0.002 (asked)" in text
    assert "method.name: can (on disk) != mae (asked)" in text
    assert "method.temperature: 0.1 (on disk) != none (asked)" in text
    assert "weight_decay" not in text
    assert "--force" in text


def test_a_config_written_before_a_field_existed_counts_as_its_default(run: RunDir) -> None:
    run.claim(BASE)
    for folder in (run.results, run.work):
        values = BASE.to_dict()
        del values["method"]["norm_pix"]
        write_json(folder / "config.json", values)
    run.claim(BASE)
    with pytest.raises(ConfigError, match=r"method.norm_pix: False \(on disk\) != True \(asked\)"):
        run.claim(changed(method__norm_pix=True))


def test_a_damaged_config_is_an_error_that_names_the_file(run: RunDir) -> None:
    run.claim(BASE)
    (run.results / "config.json").write_text('{"scale": "lap')
    with pytest.raises(DataError, match=r"config\.json is damaged"):
        run.claim(BASE)


def test_force_deletes_what_the_old_run_wrote(run: RunDir) -> None:
    run.claim(BASE)
    run.write_eval("linear_probe", [RECORD])
    (run.checkpoints / "10").mkdir(parents=True)
    run.claim(changed(seed=1), force=True)
    assert [path.name for path in run.results.iterdir()] == ["config.json"]
    assert [path.name for path in run.work.iterdir()] == ["config.json"]
    run.claim(changed(seed=1))


def finish(run: RunDir) -> None:
    run.claim(BASE)
    (run.results / "train.csv").touch()
    (run.results / "provenance.json").touch()
    (run.checkpoints / str(BASE.optim.total_steps)).mkdir(parents=True)


def test_a_finished_run_is_trained_again_only_for_a_new_evaluation_without_its_weights(run: RunDir) -> None:
    run.claim(BASE)
    assert not run.pretrained
    assert "not pre-trained yet" in (run.reason_to_train([]) or "")
    finish(run)
    run.write_eval("linear_probe", [RECORD])
    assert run.pretrained
    assert run.has_weights
    assert run.reason_to_train(["linear_probe", "finetune"]) is None

    files_of_this_machine = run.work
    files_of_this_machine.rename(run.work.with_name("elsewhere"))  # what a fresh clone looks like
    assert run.pretrained
    assert not run.has_weights
    assert run.reason_to_train(["linear_probe"]) is None
    assert re.search(
        "weights .* not on this machine.* finetune", run.reason_to_train(["linear_probe", "finetune"]) or ""
    )


def test_only_the_last_step_checkpoint_counts_as_weights(run: RunDir) -> None:
    run.claim(changed(optim__max_steps=60))
    (run.checkpoints / "50").mkdir(parents=True)
    (run.checkpoints / "60.orbax-checkpoint-tmp").mkdir()
    assert not run.has_weights
    (run.checkpoints / "60").mkdir()
    assert run.has_weights


def test_an_evaluation_is_read_as_it_was_written(run: RunDir) -> None:
    records = [RECORD, RECORD | {"metric": "top5"}]
    assert not run.has_eval("linear_probe")
    run.write_eval("linear_probe", records)
    assert run.has_eval("linear_probe")
    assert run.read_eval("linear_probe") == records
    assert (run.results / "eval-linear_probe.json").exists()


@pytest.mark.parametrize(
    "change",
    [{"extra": 1}, {"value": float("nan")}, {"value": "81"}, {"n": 0}, {"n": 1.5}, {"seed": None}, {"metric": ""}],
)
def test_a_malformed_evaluation_is_neither_written_nor_read(run: RunDir, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change)) if "extra" not in change else "exactly the keys"):
        run.write_eval("linear_probe", [RECORD | change])
    assert not run.has_eval("linear_probe")
    run.results.mkdir(parents=True)
    (run.results / "eval-linear_probe.json").write_text(json.dumps([RECORD | change]))
    with pytest.raises(DataError, match="is damaged"):
        run.read_eval("linear_probe")


def test_a_missing_evaluation_says_so(run: RunDir) -> None:
    with pytest.raises(DataError, match="evaluate can-vitb-in1k-e100-s0 with finetune first"):
        run.read_eval("finetune")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_write_that_fails_keeps_the_old_file_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, "old")

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(UserError) as raised:
        write_atomic(path, b"new")
    assert ("disk is full" in str(raised.value)) == (number != errno.EROFS)
    assert str(path) in str(raised.value)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_readers_see_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    old = path.open()
    write_atomic(path, "new")
    assert (old.read(), path.read_text()) == ("old", "new")


def test_provenance_says_what_made_the_numbers_but_not_who_or_where() -> None:
    data = {"folder:/home/someone/photos": "0123", "fashion_mnist": "abcd", "/data/tfds/set": "5"}
    record = provenance(data, started=time.time() - 5, wall_time_s=5.04, steps=10, images_per_second=812.34)
    assert record["data"] == {"folder:photos": "0123", "fashion_mnist": "abcd", "set": "5"}
    assert record["wall_time_s"] == 5.0
    assert record["images_per_second"] == 812.3
    assert record["cpu"]["count"] >= 1
    assert record["peak_memory_mb"] > 50
    assert record["versions"]["jax"] == __import__("jax").__version__
    text = json.dumps(record)
    assert "/" not in text.replace(record["device"]["kind"], "").replace(record["cpu"]["model"], "")
    assert os.uname().nodename not in text


def test_the_git_state_is_the_commit_and_whether_the_sources_differ(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    nothing = {"commit": None, "dirty": None}
    assert git_state(tmp_path) == nothing
    git("init", "-q")
    assert git_state(tmp_path) == nothing  # no commit yet
    (tmp_path / "can").mkdir()
    (tmp_path / "can" / "a.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = {"commit": git("rev-parse", "HEAD"), "dirty": False}
    assert git_state(tmp_path) == clean
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "train.csv").touch()
    assert git_state(tmp_path) == clean  # results are not sources
    assert git_state(tmp_path / "can") == nothing  # a package that merely lies in some repository
    (tmp_path / "can" / "a.py").write_text("2")
    assert git_state(tmp_path) == clean | {"dirty": True}
