"""The experiments as commands: what they resolve to, what they print, how they end when the user errs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from can.errors import ConfigError
from can.machine import usable_cpus
from experiments.harness import presets, table
from experiments.harness.table import Row

REPOSITORY = Path(__file__).resolve().parent.parent


def run_script(script: str, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "experiments" / script), "--scale=smoke", *flags]
    folders = [f"--results_dir={folder / 'results'}", f"--workdir={folder / 'checkpoints'}", f"--data_dir={folder}"]
    return subprocess.run([*command, *folders], capture_output=True, text=True, timeout=300, check=False)


def paper_run(method: str, model: str, data: str, epochs: float):
    return presets.resolve("paper", method=method, model=model, data=data, epochs=epochs, seed=0)


@pytest.mark.parametrize(
    ("method", "model", "data", "base_lr", "weight_decay"),
    [
        ("can", "vit_b", "in1k", 2.5e-4, 0.05),  # Table 5
        ("can", "vit_l", "in1k", 1.25e-4, 0.1),
        ("simclr", "vit_l", "in1k", 1.25e-4, 0.1),
        ("can", "vit_b", "jft", 2.5e-4, 0.05),  # Table 6
        ("simclr", "vit_l", "jft", 3.125e-5, 0.05),
        ("mae", "vit_l", "in1k", 1.5e-4, 0.05),  # Table 7
        ("mae", "vit_l", "jft", 3.75e-5, 0.05),  # Table 8
    ],
)
def test_the_papers_learning_rates_and_weight_decays(method, model, data, base_lr, weight_decay):
    optim = paper_run(method, model, data, 800).optim
    assert (optim.base_lr, optim.weight_decay) == (base_lr, weight_decay)
    assert (optim.batch_size, optim.beta1, optim.beta2) == (4096, 0.9, 0.95)
    assert optim.peak_lr == pytest.approx(16 * base_lr)


def test_the_papers_schedule_counts_imagenet_epochs():
    optim = paper_run("can", "vit_l", "jft", 5000).optim
    assert optim.total_steps == 5000 * 1281167 // 4096 == 1563924
    assert optim.warmup_steps == pytest.approx(40 * 1281167 / 4096, abs=1)
    assert paper_run("can", "vit_b", "in1k", 100).optim.warmup_steps == pytest.approx(5 * 1281167 / 4096, abs=1)


def test_the_papers_model_and_method():
    config = paper_run("can", "vit_l", "jft", 5000)
    model, method = config.model, config.method
    assert (model.width, model.depth, model.heads, model.patch_size, model.image_size) == (1024, 24, 16, 16, 224)
    assert (model.decoder_width, model.decoder_depth, model.decoder_heads, model.decoder_mlp_dim) == (512, 8, 16, 2048)
    assert (model.head_width, model.head_depth, model.head_out) == (4096, 2, 128)
    assert (method.mask_rate, method.temperature, method.lambda_infonce, method.sigma_max) == (0.5, 0.1, 0.03, 0.05)
    assert (config.augment.name, config.augment.crop_area_min, config.augment.color_strength) == ("simclr", 0.08, 1.0)
    mae = paper_run("mae", "vit_l", "jft", 1600)
    assert (mae.method.mask_rate, mae.augment.name, mae.augment.crop_area_min) == (0.75, "mae", 0.2)
    probe = presets.SCALES["paper"].linear_probe
    assert (probe.base_lr, probe.batch_size, probe.epochs, probe.warmup_epochs) == (0.1, 16384, 100, 10)


@pytest.mark.parametrize("scale", sorted(presets.SCALES))
@pytest.mark.parametrize("method", ["can", "mae", "simclr", "random"])
@pytest.mark.parametrize("model", presets.MODEL_ROLES)
def test_every_scale_resolves_every_method_and_longer_runs_see_more_images(scale, method, model):
    epochs = [0] if method == "random" else [100, 800, 1600, 3000, 5000]
    runs = [presets.resolve(scale, method=method, model=model, data="jft", epochs=e, seed=0) for e in epochs]
    steps = [run.optim.total_steps for run in runs]
    assert steps == sorted(steps)
    assert (steps[0] > 0) == (method != "random")
    assert all(0 <= run.optim.warmup_steps <= max(1, 0.051 * run.optim.total_steps) for run in runs)


def test_methods_differ_in_learning_rate_and_augmentation_alone_at_small_scales():
    """Equal effort: the same data, batch, steps, schedule and weight decay for all."""
    runs = [
        presets.resolve("laptop", method=m, model="vit_l", data="jft", epochs=800, seed=0)
        for m in ("can", "simclr", "mae")
    ]
    for run in runs[1:]:
        assert (run.data, run.model) == (runs[0].data, runs[0].model)
        for field in ("weight_decay", "batch_size", "total_steps", "warmup_steps"):
            assert getattr(run.optim, field) == getattr(runs[0].optim, field)


def test_a_seed_that_is_given_twice_counts_once():
    assert table.seeds(["0", "2", "0"]) == [0, 2]
    with pytest.raises(ConfigError, match="--seeds takes whole numbers"):
        table.seeds(["0", "x"])


def test_rows_are_selected_by_the_parts_of_their_names():
    rows = [Row("can", "vit_b", "jft", 800), Row("can", "vit_l", "jft", 800), Row("can", "vit_l", "jft", 5000)]
    assert table.select(rows, []) == rows
    assert table.select(rows, ["can/vit_l"]) == rows[1:]
    assert table.select(rows, ["can/vit_l/800"]) == rows[1:2]
    with pytest.raises(ConfigError, match="no row 'can/vit_m'; did you mean can/vit_"):
        table.select(rows, ["can/vit_m"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method=simcrl"], "unknown method 'simcrl'; did you mean 'simclr'?"),
        (["--scale=labtop"], "unknown scale 'labtop'; did you mean 'laptop'?"),
        (["--data=fashion_mnits"], "fashion_mnist"),
        (["--model=mikro"], "unknown model size 'mikro'; did you mean 'micro'?"),
        (["--augmentation=simcl"], "did you mean 'simclr'?"),
        (["--mask_rate=1"], "mask_rate 1 keeps 0 of 4 patches"),
        (["--method=mae", "--mask_rate=0"], "mask_rate 0 hides none of 4 patches"),
        (["--method=mae", "--sigma_max=0.1"], "a run of mae has no setting sigma_max"),
        (["--image_size=15"], "patch_size 7 does not divide image_size 15"),
        (["--batch_size=1"], "batch_size 1 leaves can without negatives"),
        (["--epochs=-1"], "--epochs must be positive"),
        (["--lambda_infonce=2"], "lambda_infonce must lie in [0, 1], not 2"),
        (["--no_such_flag=1"], "no_such_flag"),
        (["--batch_size=many"], "batch_size"),
        (["stray"], "unexpected argument 'stray'"),
        (["--data=folder:/no/such/place"], "/no/such/place"),
    ],
)
def test_a_mistake_ends_with_one_line_and_a_non_zero_exit(flags, message, tmp_path):
    done = run_script("pretrain.py", tmp_path, *flags)
    assert done.returncode not in (0, None)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0], done.stderr
    assert not (tmp_path / "results").exists()


def test_print_config_shows_what_would_run_and_runs_nothing(tmp_path):
    done = run_script("pretrain.py", tmp_path, "--method=mae", "--scale=paper", "--model=vit_l", "--print_config")
    config = json.loads(done.stdout)
    assert config["optim"]["base_lr"] == 1.5e-4
    assert config["peak_lr"] == pytest.approx(2.4e-3)
    assert config["linear_probe"]["batch_size"] == 16384
    assert config["name"] == "mae-vitl-in1k-e100-s0"
    assert not (tmp_path / "results").exists()


def test_a_table_reuses_its_runs_refuses_changed_ones_and_restarts_quickly(tmp_path):
    first = run_script("table2_jft.py", tmp_path, "--rows=random/vit_b,mae/vit_l/1600")
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("smoke: not a result") >= 2
    results = tmp_path / "results" / "smoke"
    csv = results / "mae-vitl-jft-e1600-s0" / "train.csv"
    provenance = (csv.parent / "provenance.json").read_text()
    made = csv.stat().st_mtime_ns

    started = time.monotonic()
    again = run_script("table2_jft.py", tmp_path, "--rows=random/vit_b,mae/vit_l/1600")
    assert again.returncode == 0
    assert time.monotonic() - started < 30  # 4 s on a quiet machine
    assert csv.stat().st_mtime_ns == made
    assert (results / "table2.md").read_text().strip() in again.stdout

    config = json.loads((csv.parent / "config.json").read_text())
    config["optim"]["base_lr"] = 0.5
    for folder in (csv.parent, tmp_path / "checkpoints/smoke/mae-vitl-jft-e1600-s0"):
        (folder / "config.json").write_text(json.dumps(config))
    changed = run_script("table2_jft.py", tmp_path, "--rows=mae/vit_l/1600")
    assert changed.returncode == 1
    assert "optim.base_lr: 0.5 (on disk) != " in changed.stderr
    assert (csv.parent / "provenance.json").read_text() == provenance


def test_runs_at_a_time_make_the_same_table_and_say_which_run_a_line_is_of(tmp_path):
    rows = "--rows=random/vit_b,mae/vit_l/1600"
    done = run_script("table2_jft.py", tmp_path, rows, "--jobs=2")
    assert done.returncode == 0, done.stderr
    first, *lines = done.stderr.splitlines()
    assert first.startswith("2 runs at a time")
    assert {line[:6] for line in lines} == {"[1/2] ", "[2/2] "}
    assert any(line.startswith("[2/2] step 4/4") for line in lines)
    results = tmp_path / "results" / "smoke"
    provenance = json.loads((results / "mae-vitl-jft-e1600-s0" / "provenance.json").read_text())
    assert provenance["cpu"]["count"] in (max(usable_cpus() // 2, 1), usable_cpus() - usable_cpus() // 2)
    assert (results / "table2.md").read_text().strip() in done.stdout
    alone = tmp_path / "alone"
    alone.mkdir()
    assert run_script("table2_jft.py", alone, rows, "--jobs=1").returncode == 0
    for name in ("random-vitb-jft-e0-s0", "mae-vitl-jft-e1600-s0"):  # sums over other numbers of cores round otherwise
        there, here = (
            json.loads((folder / name / "eval-linear_probe.json").read_text())
            for folder in (results, alone / "results" / "smoke")
        )
        assert [record["metric"] for record in there] == [record["metric"] for record in here]
        assert there[0]["metric"] == "top1" and there[0]["n"] == 256
        assert there[0]["value"] == pytest.approx(here[0]["value"], abs=2 / 256)
    wrong = run_script("table2_jft.py", tmp_path, "--jobs=0")
    assert (wrong.returncode, wrong.stderr) == (1, "error: --jobs must be at least 1, not 0\n")


def test_ctrl_c_ends_all_runs_with_one_line(tmp_path):
    script = REPOSITORY / "experiments" / "table2_jft.py"
    command = [sys.executable, str(script), "--scale=smoke", "--jobs=2", "--rows=can", f"--results_dir={tmp_path}"]
    command += [f"--workdir={tmp_path / 'work'}", f"--data_dir={tmp_path}"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr.readline().startswith("2 runs at a time")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "stopped; the same command goes on from the last checkpoint"
    assert "Traceback" not in rest


def test_a_dry_run_prints_the_plan_with_its_cost_and_makes_nothing(tmp_path):
    done = run_script("table2_jft.py", tmp_path, "--dry_run", "--rows=can/vit_b,simclr/vit_b")
    assert done.returncode == 0, done.stderr
    assert "can-vitb-jft-e800-s0" in done.stdout and "GFLOPs/image" in done.stdout
    assert not (tmp_path / "results").exists()


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
    shutil.copy(REPOSITORY / "experiments" / "harness" / "environment.py", copy / "harness")

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
