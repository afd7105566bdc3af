"""The folders of runs are never mixed, say what is done, and belong to one process at a time."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from test_run_names import BASE, changed

from can.errors import ConfigError, DataError
from can.methods import settings_class
from can.runs import RunDir
from can.runs.config_file import config_of
from can.system.files import write_json


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "results", tmp_path / "checkpoints", "laptop", "can-vitb-in1k-e100-s0")


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
        assert config_of(json.loads((folder / "config.json").read_text())) == BASE


@pytest.mark.parametrize("lost", ["results", "work"])
def test_a_changed_config_under_an_old_name_shows_each_difference(run: RunDir, lost: str) -> None:
    run.claim(BASE)
    (getattr(run, lost) / "config.json").unlink()  # one folder is enough to know
    with pytest.raises(ConfigError) as raised:
        run.claim(changed(optim__base_lr=0.002, method=settings_class("mae")()))
    text = str(raised.value)
    assert "optim.base_lr: 0.001 (on disk) != 0.002 (asked)" in text
    assert "method.name: can (on disk) != mae (asked)" in text
    assert "method.temperature: 0.1 (on disk) != nothing (asked)" in text
    assert "weight_decay" not in text
    assert "--force=train" in text


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


def finish(run: RunDir) -> None:
    run.claim(BASE)
    (run.results / "train.csv").touch()
    write_json(run.results / "provenance.json", {"weights": "w"})
    (run.checkpoints / str(BASE.optim.total_steps)).mkdir(parents=True)


def test_a_finished_run_is_trained_again_only_for_a_missing_evaluation_without_its_weights(run: RunDir) -> None:
    run.claim(BASE)
    assert not run.pretrained
    assert "not pre-trained yet" in (run.reason_to_train([]) or "")
    finish(run)
    assert run.pretrained
    assert run.has_weights
    assert run.reason_to_train(["finetune"]) is None

    files_of_this_machine = run.work
    files_of_this_machine.rename(run.work.with_name("elsewhere"))  # what a fresh clone looks like
    assert run.pretrained
    assert not run.has_weights
    assert run.reason_to_train([]) is None
    assert re.search("weights .* not on this machine.* finetune", run.reason_to_train(["finetune"]) or "")


def test_only_the_last_step_checkpoint_counts_as_weights(run: RunDir) -> None:
    run.claim(changed(optim__max_steps=60))
    (run.checkpoints / "50").mkdir(parents=True)
    (run.checkpoints / "60.orbax-checkpoint-tmp").mkdir()
    assert not run.has_weights
    (run.checkpoints / "60").mkdir()
    assert run.has_weights


def test_forgetting_the_training_keeps_evaluations_and_frees_the_folders(run: RunDir) -> None:
    finish(run)
    run.eval_path("linear_probe").write_text("{}")
    (run.work / "finetune").mkdir()
    run.forget_training()
    assert [path.name for path in run.results.iterdir()] == ["eval-linear_probe.json"]
    assert list(run.work.iterdir()) == []
    run.claim(changed(seed=1))


def test_forgetting_an_evaluation_deletes_its_training_and_no_other(run: RunDir) -> None:
    finish(run)
    for name in ("finetune", "finetune_mae"):
        for path in (run.eval_path(name), run.results / f"{name}.csv"):
            path.write_text("{}")
        (run.work / name).mkdir()
    run.forget_eval("finetune")
    left = {path.name for folder in (run.results, run.work) for path in folder.glob("*finetune*")}
    assert left == {"eval-finetune_mae.json", "finetune_mae.csv", "finetune_mae"}
    assert run.pretrained
    assert run.has_weights


FOUR_AT_ONCE = """
import os, signal, sys, time
from pathlib import Path
from can.runs import RunDir

folder = Path(sys.argv[1])
run = RunDir(folder / "results", folder / "checkpoints", "smoke", "a-run")
inside, done, made = folder / "inside", folder / "done", folder / "made"

def work():
    with run.locked():
        inside.mkdir()  # an error if another process is here, too
        if not done.exists():
            with made.open("a") as file:
                print("made", file=file)
            time.sleep(0.2)
            done.touch()
        inside.rmdir()

def hold_for_ever():
    with run.locked():
        done.with_name("held").touch()
        time.sleep(60)

def fork(function):
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child

holder = fork(hold_for_ever)
while not (folder / "held").exists():
    time.sleep(0.01)
children = [fork(work) for _ in range(4)]
time.sleep(0.3)
assert not made.exists()
os.kill(holder, signal.SIGKILL)
sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
"""


def test_one_process_works_on_a_run_at_a_time_and_takes_over_from_a_killed_one(run_python: Any, tmp_path: Path) -> None:
    """Four wait for one that is killed with SIGKILL; they go in one by one, and the first alone makes anything."""
    run_python(FOUR_AT_ONCE, str(tmp_path), timeout=60)
    assert (tmp_path / "made").read_text() == "made\n"
