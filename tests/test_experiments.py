"""The experiments as commands: what they print, how they end when the user errs, what they make once."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from commands import Commands, Done
from kill_table import kill_table, numbers
from PIL import Image

from can.runs import RunDir
from can.system.files import read_json, write_json
from can.system.machine import usable_cpus

REPOSITORY = Path(__file__).resolve().parent.parent
UNTRAINED, MAE = "random-vitb-jft-e0-s0", "mae-vitl-jft-e1600-s0"
ROWS = "--rows=random/vit_b,mae/vit_l/1600"


def smoke_flags(folder: Path) -> list[str]:
    folders = [f"--results_dir={folder / 'results'}", f"--workdir={folder / 'checkpoints'}", f"--data_dir={folder}"]
    return ["--scale=smoke", *folders]


def run_script(script: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "experiments" / script), *smoke_flags(folder), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def row(table: str, encoder: str, method: str, epochs: str) -> list[str]:
    """The cells of one row of the last table of a text that has it."""
    for line in reversed(table.splitlines()):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[:3] == [method, encoder, epochs]:
            return cells
    raise AssertionError(f"no row {method} {encoder} {epochs} in\n{table}")


def made(folder: Path, run: str) -> dict[str, bytes]:
    """What says when a run was trained and evaluated."""
    paths = (folder / "results" / "smoke" / run).glob("*.json")
    return {path.stem: path.read_bytes() for path in paths if path.stem != "config"}


@pytest.fixture(scope="module")
def first(commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A table of two rows and its folder, which no test changes."""
    folder = tmp_path_factory.mktemp("first")
    return folder, commands("experiments/table2_jft.py", *smoke_flags(folder), ROWS, "--jobs=1")


@pytest.fixture
def table(first: tuple[Path, Done], tmp_path: Path) -> Path:
    """A copy of that table's folder."""
    shutil.copytree(first[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method=simcrl"], "unknown method 'simcrl'; did you mean 'simclr'?"),
        (["--scale=labtop"], "unknown scale 'labtop'; did you mean 'laptop'?"),
        (["--data=fashion_mnits"], "fashion_mnist"),
        (["--model=mikro"], "unknown model size 'mikro'; did you mean 'micro'?"),
        (["--augmentation=simcl"], "did you mean 'simclr'?"),
        (["--mask_rate=1"], "mask_rate 1 keeps 0 of 16 patches"),
        (["--method=mae", "--mask_rate=0"], "mask_rate 0 hides none of 16 patches"),
        (["--method=mae", "--sigma_max=0.1"], "mae has no setting 'sigma_max'"),
        (["--image_size=15"], "patch_size 7 does not divide image_size 15"),
        (["--batch_size=1"], "batch_size 1 leaves can without negatives"),
        (["--batch_size=0"], "batch_size must lie in"),
        (["--checkpoint_every=0"], "--checkpoint_every must lie in"),
        (["--epochs=-1"], "--epochs must be positive"),
        (["--lambda_infonce=2"], "lambda_infonce must lie in [0, 1], not 2"),
        (["--drop_path=0.1"], "can has no setting 'drop_path'"),
        (["--method=random", "--total_steps=3"], "random has no setting 'total_steps'"),
        (["--force=trian"], "unknown thing to --force 'trian'; did you mean 'train'?"),
        (["--force=train,finetun"], "unknown thing to --force 'finetun'; did you mean 'finetune'?"),
        (["--no_such_flag=1"], "no_such_flag"),
        (["--batch_size=many"], "batch_size"),
        (["stray"], "unexpected argument 'stray'"),
        (["--data=folder:/no/such/place"], "/no/such/place"),
        (["--name=a/b"], "run name 'a/b' cannot be a folder's name"),
    ],
)
def test_a_mistake_ends_with_one_line_and_a_non_zero_exit(commands, flags, message, tmp_path):
    assert_one_line(commands("experiments/pretrain.py", *smoke_flags(tmp_path), *flags), message, tmp_path)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rows=can/vit_m"], "no row 'can/vit_m'; did you mean can/vit_"),
        (["--seeds=0,x"], "--seeds takes whole numbers"),
        (["--jobs=0"], "--jobs must be at least 1, not 0"),
        (["--drop_path=0.1"], "no run of this table has the setting --drop_path"),
        (["--batch_size=512"], "less than a batch of 512"),
    ],
)
def test_a_mistake_in_a_table_ends_with_one_line_before_any_run(commands, flags, message, tmp_path):
    assert_one_line(commands("experiments/table2_jft.py", *smoke_flags(tmp_path), *flags), message, tmp_path)


def assert_one_line(done: Done | subprocess.CompletedProcess[str], message: str, folder: Path) -> None:
    assert done.returncode in (1, 2)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not list(folder.rglob("config.json"))


def test_a_mistake_is_one_line_of_a_process_of_its_own_too(tmp_path):
    assert_one_line(run_script("pretrain.py", tmp_path, "--method=simcrl"), "did you mean 'simclr'?", tmp_path)


def test_print_config_shows_what_would_run_and_runs_nothing(commands, tmp_path):
    flags = ("--method=mae", "--scale=paper", "--model=vit_l", "--print_config")
    config = json.loads(commands("experiments/pretrain.py", *smoke_flags(tmp_path), *flags).stdout)
    assert config["optim"]["base_lr"] == 1.5e-4
    assert config["peak_lr"] == pytest.approx(2.4e-3)
    assert config["linear_probe"]["batch_size"] == 16384
    assert config["name"] == "mae-vitl-in1k-e100-s0"
    assert not (tmp_path / "results").exists()


def test_a_dry_run_prints_the_plan_with_its_cost_and_makes_nothing(commands, tmp_path):
    flags = (*smoke_flags(tmp_path), "--dry_run", "--rows=mae/vit_l/1600,random/vit_b")
    done = commands("experiments/table2_jft.py", *flags)
    assert done.returncode == 0, done.stderr
    assert MAE in done.stdout
    assert "GFLOPs/image" in done.stdout
    assert not (tmp_path / "results").exists()


def test_a_table_shows_what_it_made_and_a_second_start_makes_nothing(commands, first):
    folder, done = first
    assert done.returncode == 0, done.stderr
    assert "smoke: not a result" in done.stdout
    for cells in (row(done.stdout, "ViT-L", "MAE", "1600"), row(done.stdout, "ViT-B", "untrained", "0")):
        assert re.fullmatch(r"\d+\.\d \(1\)", cells[-1])
    before = made(folder, MAE), made(folder, UNTRAINED)
    again = commands("experiments/table2_jft.py", *smoke_flags(folder), ROWS)
    assert again.returncode == 0
    assert again.stderr == ""
    assert (made(folder, MAE), made(folder, UNTRAINED)) == before
    assert (folder / "results" / "smoke" / "table2.md").read_text().strip() in again.stdout


@pytest.mark.parametrize("finished", [True, False])
def test_a_table_refuses_runs_that_were_trained_on_other_images_than_their_set_has_now(commands, table, finished):
    made_by = table / "results" / "smoke" / MAE / "provenance.json"
    record = read_json(made_by)
    begun_on = table / "checkpoints" / "smoke" / MAE / "images.json"
    if finished:
        write_json(made_by, record | {"data": {"smoke train": "of another day"}})
    else:
        made_by.unlink()
        write_json(begun_on, {"smoke train": "of another day"})
    done = commands("experiments/table2_jft.py", *smoke_flags(table), "--rows=mae/vit_l/1600")
    assert done.returncode == 1
    begun = "was trained" if finished else "was begun"
    assert f"{begun} on other images than its data set has now" in done.stderr
    assert f"smoke train: of another day (on disk) != {record['data']['smoke train']} (asked)" in done.stderr


def test_a_table_refuses_runs_of_another_configuration(commands, table):
    for place in ("results", "checkpoints"):
        path = table / place / "smoke" / MAE / "config.json"
        config = read_json(path)
        config["optim"]["base_lr"] = 0.5
        write_json(path, config)
    before = made(table, MAE)
    done = commands("experiments/table2_jft.py", *smoke_flags(table), "--rows=mae/vit_l/1600")
    assert done.returncode == 1
    assert "optim.base_lr: 0.5 (on disk) != " in done.stderr
    assert made(table, MAE) == before


def test_a_table_refuses_evaluations_under_other_flags_until_they_are_forced(commands, table):
    asked = (*smoke_flags(table), "--rows=random/vit_b", "--probe_max_steps=2")
    before = made(table, UNTRAINED)
    refused = commands("experiments/table2_jft.py", *asked)
    assert refused.returncode == 1
    assert "max_steps: 0 (on disk) != 2 (asked)" in refused.stderr
    assert made(table, UNTRAINED) == before
    forced = commands("experiments/table2_jft.py", *asked, "--force=linear_probe")
    assert forced.returncode == 0, forced.stderr
    assert "**Recast with `--probe_max_steps=2`.**" in forced.stdout
    after = made(table, UNTRAINED)
    assert after["provenance"] == before["provenance"]
    assert json.loads(after["eval-linear_probe"])["protocol"]["max_steps"] == 2


def test_forcing_the_training_of_a_table_redoes_it_and_the_evaluations_of_other_weights(commands, table):
    path = table / "results" / "smoke" / UNTRAINED / "eval-linear_probe.json"
    evaluation = read_json(path)
    write_json(path, evaluation | {"fingerprints": evaluation["fingerprints"] | {"weights": "others"}})
    before = {name: made(table, name) for name in (MAE, UNTRAINED)}
    # The run that was trained is as it was, and so is its evaluation.
    done = commands("experiments/table2_jft.py", *smoke_flags(table), "--rows=random/vit_b", "--force=train")
    assert done.returncode == 0, done.stderr
    assert read_json(path)["fingerprints"] == evaluation["fingerprints"]
    assert read_json(path)["records"] == evaluation["records"]
    assert made(table, UNTRAINED)["provenance"] != before[UNTRAINED]["provenance"]
    assert made(table, MAE) == before[MAE]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten labelled images a split in two classes."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for kind in ("cats", "dogs"):
            folder = tmp_path / "photos" / split / kind
            folder.mkdir(parents=True)
            for number in range(32):
                pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_a_table_of_recast_roles_and_overrides_shows_its_rows_with_numbers_and_says_so(commands, tmp_path, photos):
    recast = (f"--labelled=folder:{photos}", f"--uncurated=folder:{photos}", "--batch_size=16", "--total_steps=2")
    asked = (*smoke_flags(tmp_path), ROWS, *recast)
    done = commands("experiments/table2_jft.py", *asked, "--jobs=1")
    assert done.returncode == 0, done.stderr
    for cells in (row(done.stdout, "ViT-L", "MAE", "1600"), row(done.stdout, "ViT-B", "untrained", "0")):
        assert re.fullmatch(r"\d+\.\d \(1\)", cells[-1])
    assert row(done.stdout, "ViT-L", "MAE", "1600")[3] == "32"  # images seen
    assert f"**Recast with `{' '.join(recast[:2])} " in done.stdout
    assert "--batch_size=16" in done.stdout
    assert f"JFT-300M in pre-training is played by `folder:{photos.name}`" in done.stdout
    names = {path.name for path in (tmp_path / "results" / "smoke").iterdir() if path.is_dir()}
    assert not names & {MAE, UNTRAINED}
    # The same folder with another image is another set.
    changed = photos / "test" / "cats" / "0.png"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(changed)
    refused = commands("experiments/table2_jft.py", *asked)
    assert refused.returncode == 1
    assert re.search(r"folder:photos \(\w+\) test: \w+ \(on disk\) != \w+ \(asked\)", refused.stderr)


def start(script: str, folder: Path, *flags: str) -> subprocess.Popen[str]:
    """As a terminal starts it: Ctrl-C reaches it, even where the tests themselves run in the background."""
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / "experiments" / script), *smoke_flags(folder), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_two_commands_at_once_on_one_run_make_it_once(tmp_path):
    """Both find another process at work and say so in one line; then one makes the run and the other finds it done."""
    run = RunDir(tmp_path / "results", tmp_path / "checkpoints", "smoke", UNTRAINED)
    waiting = f"waiting for another process that works on {UNTRAINED}\n"
    with run.locked():
        both = [start("table2_jft.py", tmp_path, "--rows=random/vit_b") for _ in range(2)]
        for process in both:
            assert process.stderr is not None
            before = list(iter(process.stderr.readline, waiting))
            assert [line.strip() for line in before if line.strip()] == [f"[1/1] random/vit_b/0 seed 0: {UNTRAINED}"]
    texts = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    assert texts[0][0].splitlines()[-1] == texts[1][0].splitlines()[-1]
    trained, found = sorted((text[1] for text in texts), key=len, reverse=True)
    assert trained.count("steps in") == 1
    assert found == f"{UNTRAINED} has its linear_probe already\n"


def test_killed_at_random_moments_a_table_has_the_same_numbers_and_makes_no_run_twice(first, tmp_path):
    folder, _ = first
    rows = ROWS.removeprefix("--rows=")
    assert kill_table(tmp_path / "table", numbers(folder), kills=3, jobs=1, rows=rows) >= 1


def test_runs_at_a_time_make_the_same_table_and_say_which_run_a_line_is_of(first, tmp_path):
    done = run_script("table2_jft.py", tmp_path, ROWS, "--jobs=2")
    assert done.returncode == 0, done.stderr
    begun, *lines = done.stderr.splitlines()
    assert begun.startswith("2 runs at a time")
    assert {line[:6] for line in lines} == {"[1/2] ", "[2/2] "}
    assert any(line.startswith("[2/2] step 4/4") for line in lines)
    provenance = read_json(tmp_path / "results" / "smoke" / MAE / "provenance.json")
    assert provenance["cpu"]["count"] in (max(usable_cpus() // 2, 1), usable_cpus() - usable_cpus() // 2)
    for name in (UNTRAINED, MAE):  # sums over other numbers of cores round otherwise
        there, here = (
            read_json(folder / "results" / "smoke" / name / "eval-linear_probe.json")["records"]
            for folder in (tmp_path, first[0])
        )
        assert [record["metric"] for record in there] == [record["metric"] for record in here]
        assert there[0]["metric"] == "top1"
        assert there[0]["n"] == 256
        assert there[0]["value"] == pytest.approx(here[0]["value"], abs=2 / 256)


def test_ctrl_c_ends_all_runs_with_one_line(tmp_path):
    process = start("table2_jft.py", tmp_path, "--jobs=2", "--rows=can")
    assert process.stderr is not None
    assert process.stderr.readline().startswith("2 runs at a time")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "stopped; the same command goes on from the last checkpoint"
    assert "Traceback" not in rest


MIMALLOC = Path(sysconfig.get_path("platlib"), "cmeel.prefix", "lib", "libmimalloc.so")
PAGES_OF_100_MB = """
import experiments.harness.environment
import resource, sys

b"x" * 100_000_000
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
b"x" * 100_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, *sys.argv[1:])
"""


@pytest.mark.skipif(
    not MIMALLOC.exists() or find_spec("jax_plugins") is not None or find_spec("libtpu") is not None,
    reason="mimalloc is for Linux, and for XLA's CPU backend",
)
def test_scripts_keep_the_memory_that_a_step_gave_back(run_python, tmp_path, monkeypatch):
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    copy = tmp_path / "experiments"  # of what a script of ours starts with
    (copy / "harness").mkdir(parents=True)
    for folder in (copy, copy / "harness"):
        (folder / "__init__.py").touch()
    for name in ("environment.py", "requirements.py"):
        shutil.copy(REPOSITORY / "experiments" / "harness" / name, copy / "harness")
    shutil.copy(REPOSITORY / "requirements.txt", tmp_path)

    def pages_of_the_second_time(folder: Path, **env: str) -> int:
        search = {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(REPOSITORY)))}
        script = folder / "script.py"
        script.write_text(PAGES_OF_100_MB)
        count, *arguments = run_python(script, "--one=1", "two words", env=search | env).stdout.split(" ", 1)
        assert arguments == ["--one=1 two words\n"]
        return int(count)

    own = pages_of_the_second_time(tmp_path)  # a user's own script stays as it is
    kept = pages_of_the_second_time(copy)
    assert kept < 1_000
    assert own > 10 * kept + 10
    assert pages_of_the_second_time(copy, LD_PRELOAD="") > 10 * kept + 10  # and so does what a user has chosen
