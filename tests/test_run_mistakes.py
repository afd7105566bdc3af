"""What readers do by mistake, or must do in between: said in one line, recorded, and nothing is left of it."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from commands import Commands
from PIL import Image

from can.commands.scales import SCALES
from can.errors import ConfigError, UserError
from can.evals.encoder import _read_cache, extract_features
from can.runs.checkpoint import Checkpoints
from can.runs.images import ImageHistory
from can.runs.provenance import git_state
from can.system.files import read_json, write_json
from can.system.machine import user_cache

REPOSITORY = Path(__file__).resolve().parent.parent


def folders(folder: Path) -> list[str]:
    return [f"--results_dir={folder}/results", f"--workdir={folder}/work", f"--data_dir={folder}/data"]


def asked(folder: Path, *flags: str, method: str = "mae") -> list[str]:
    return ["--scale=smoke", f"--method={method}", *folders(folder), *flags]


def photos(root: Path, count: int = 40, size: int = 16, first: int = 0) -> Path:
    for index in range(count):
        rng = np.random.default_rng(first + index)
        path = root / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(path)
    return root


def test_evaluating_what_is_not_pre_trained_leaves_nothing(commands: Commands, tmp_path: Path) -> None:
    done = commands("experiments/evaluate.py", *asked(tmp_path))
    assert done.returncode == 1
    assert "is not pre-trained to its end: pre-train it with the same flags first" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_folders_are_renamed_is_the_same_run(commands: Commands, tmp_path: Path) -> None:
    """It refused its own checkpoints, which say their run's name. One of another seed is still refused."""
    random = asked(tmp_path, method="random")
    assert commands("experiments/pretrain.py", *random, "--name=first").returncode == 0
    for folder in ("results", "work"):
        (tmp_path / folder / "smoke" / "first").rename(tmp_path / folder / "smoke" / "second")
    flags = ("--name=second", "--eval=knn")
    assert commands("experiments/pretrain.py", *random, "--name=second").returncode == 0
    done = commands("experiments/evaluate.py", *random, *flags)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "smoke" / "second" / "eval-knn.json").exists()
    done = commands("experiments/evaluate.py", *random, *flags, "--seed=1")
    assert done.returncode == 1
    assert "seed" in done.stderr


def test_an_evaluation_that_does_not_exist_is_one_line(commands: Commands, tmp_path: Path) -> None:
    random = asked(tmp_path, method="random")
    assert commands("experiments/pretrain.py", *random).returncode == 0
    done = commands("experiments/evaluate.py", *random, "--eval=linear_prob")
    assert done.returncode == 1
    assert done.stderr.startswith("error: unknown evaluation 'linear_prob'; did you mean 'linear_probe'?")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "flag",
    [
        "--data=folder:/no/such/place",
        "--workdir=/tmp/x [v2]/w",
        "--seed=-1",
        "--beta1=2",
        "--width=0",
        "--temperature=inf",
        "--fsdp=3",
    ],
)
def test_a_mistake_leaves_no_folder(commands: Commands, tmp_path: Path, flag: str) -> None:
    done = commands("experiments/pretrain.py", *asked(tmp_path, flag, method="can"))
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists() and not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--temperature=inf", "temperature must lie in [1e-06, 1e+06], not inf"),
        ("--finetune_beta2=nan", "finetuning's beta2 must lie in [0, 1), not nan"),
        ("--width=0", "width must lie in [1, 65536], not 0"),
        ("--depth=-1", "depth must lie in [1, 1000], not -1"),
        ("--head_depth=-1", "head_depth must lie in [0, 1000], not -1"),
        ("--few_shot_shots=99999", "few-shot shots must lie in [1, 1000], not 99999"),
        (
            "--decoder_depth=0",
            "decoder_depth must lie in [1, 1000], not 0",
        ),  # orbax saves no list without entries
        ("--seed=4294967296", "seed must lie in [0, 4294967295], not 4294967296"),
        ("--results_dir=gs://bucket/x", "gs://bucket/x is no folder of this machine"),
        ("--data_dir=s3://bucket/x", "s3://bucket/x is no folder of this machine"),
        (f"--name={'a' * 260}", "has 260 letters: pass a --name of at most 200"),
        ("--total_steps=0", "total_steps must lie in [1, "),
        ("--seed=-1", "seed must lie in [0, "),
        ("--beta1=2", "beta1 must lie in [0, 1), not 2"),
        ("--checkpoint_every=0", "--checkpoint_every must lie in [1, "),
        ("--workers=-1", "--workers must lie in [0, "),
        ("--fsdp=0", "--fsdp must lie in [1, "),
        ("--epochs=nan", "epochs must lie in"),
        ("--warmup_epochs=101", "warmup_epochs must lie in [0, 100], not 101"),
        ("--probe_momentum=1", "the linear probe's momentum must lie in [0, 1), not 1"),
        ("--probe_epochs=0", "the linear probe's epochs must lie in (0, "),
        ("--crop_area_min=0.9", ""),
        ("--crop_area_max=0.01", "crop_area_min 0.3 must not exceed crop_area_max 0.01"),
        ("--results_dir=", "a folder must have a name"),
        ("--results_dir=~nobody-here/x", "write the folder out"),
    ],
)
def test_every_field_is_checked_where_it_is_declared(commands: Commands, flag: str, message: str) -> None:
    done = commands("experiments/pretrain.py", "--scale=smoke", "--method=can", flag, "--print_config")
    if not message:
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode in (1, 2)
    assert message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_too_few_images_for_one_step_say_how_many_it_takes(commands: Commands, tmp_path: Path) -> None:
    done = commands("experiments/pretrain.py", *asked(tmp_path, "--epochs=50", method="can"))
    assert done.returncode == 1
    assert "50 epochs are 24 images at the scale smoke, less than a batch of 32" in done.stderr


def test_a_folder_below_home_is_below_home(commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import experiments.harness.environment\nfrom absl import flags\n"
        "from can.commands import flags as ours\nours.define_run_flags()\n"
        "flags.FLAGS(['x', '--results_dir=~/out', '--scale=smoke'])\nprint(ours.setting().results_dir)"
    )
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{tmp_path}/out"


def test_a_user_without_a_home_has_a_folder_for_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that is started for a number without a name."""

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    assert user_cache() == Path.home() / ".cache"
    monkeypatch.setattr(Path, "home", nobody)
    assert user_cache() == Path(tempfile.gettempdir()) / f"cache-of-{os.getuid()}"


def test_a_set_that_changed_while_a_run_was_stopped_is_said_and_recorded(commands: Commands, tmp_path: Path) -> None:
    """A bad image was removed, as the message about it says."""
    root = photos(tmp_path / "photos")
    flags = asked(tmp_path, f"--data=folder:{root}", "--batch_size=4", "--total_steps=6", "--name=run")
    run = commands("experiments/pretrain.py", *flags)
    assert run.returncode == 0, run.stderr
    record = tmp_path / "results/smoke/run/provenance.json"
    before = read_json(record)["data"]
    record.unlink()  # as a run that was stopped after step 4
    shutil.rmtree(tmp_path / "work/smoke/run/state/6")
    (root / "a" / "0.png").unlink()
    (tmp_path / "work/smoke/run/images.json").unlink()  # the checkpoint has it, too
    refused = commands("experiments/pretrain.py", *flags)
    assert refused.returncode == 1
    assert "run was begun on other images than its data set has now" in refused.stderr
    assert "--force=images to go on from step 4 with the images of now" in refused.stderr
    done = commands("experiments/pretrain.py", *flags, "--force=images")
    assert done.returncode == 0, done.stderr
    assert "run goes on from step 4 with other images" in done.stderr
    after = read_json(record)
    assert after["data"] != before
    assert after["data_history"] == [{"from_step": 0, "data": before}, {"from_step": 4, "data": after["data"]}]
    assert commands("experiments/pretrain.py", *flags).returncode == 0


def test_the_same_name_of_another_folder_is_another_set(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--data=folder:photos` from two working directories: the run of the one is not that of the other."""
    one, other = (photos(tmp_path / name / "photos", first=first) for name, first in (("one", 0), ("other", 100)))
    flags = asked(tmp_path, "--data=folder:photos", "--batch_size=4", "--total_steps=1")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    script = str(REPOSITORY / "experiments" / "pretrain.py")

    def start(folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, script, *flags]
        return subprocess.run(command, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False)

    assert start(one).returncode == 0
    again = start(one)
    assert again.returncode == 0 and "is pre-trained already" in again.stderr
    refused = start(other)
    assert refused.returncode == 1
    assert "was trained on other images than its data set has now" in refused.stderr


@pytest.mark.parametrize("flag", ["--nonorm_pix=true", "--noremat=0", "--seed=", "--seed=1.5", "--flagfile=/nowhere"])
def test_a_flag_that_cannot_be_is_one_line(commands: Commands, flag: str) -> None:
    done = commands("experiments/pretrain.py", "--scale=smoke", flag)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.endswith("(--help lists the flags)\n")
    assert done.stderr.count("\n") == 1 and flag.partition("=")[0].strip("-") in done.stderr


def test_the_advice_after_a_loss_that_is_not_finite_works(commands: Commands, tmp_path: Path) -> None:
    named = asked(tmp_path, "--total_steps=6", "--checkpoint_every=1", "--name=run")
    failed = commands("experiments/pretrain.py", *named, "--base_lr=1e25")
    assert failed.returncode == 1
    assert re.search(r"became (nan|inf) at step \d of 6 \(base_lr 1e\+25\)", failed.stderr)
    assert "train from the start with a lower --base_lr or with --clip_norm=1, which is another run" in failed.stderr
    assert "is kept" in failed.stderr or "no checkpoint was made yet" in failed.stderr
    (noted,) = tmp_path.rglob("failure.json")
    failure = json.loads(noted.read_text())
    assert (failure["seed"], len(set(failure["images"]))) == (0, 32)
    again = commands("experiments/pretrain.py", *named, "--base_lr=1e25", "--replay")
    last = again.stdout.splitlines()[-1]
    assert again.returncode == 0 and last.startswith(f"step {failure['step']}: ")
    assert "nan" in last or "inf" in last
    assert commands("experiments/pretrain.py", *named, "--base_lr=0.01", "--force=train").returncode == 0
    other = asked(tmp_path, "--total_steps=6", "--name=other", "--clip_norm=1", "--base_lr=0.01")
    assert commands("experiments/pretrain.py", *other).returncode == 0


@pytest.mark.parametrize("name", ["x [v2]", "a\\b", "gs:", os.fsdecode(b"w\xff")])
def test_a_folder_that_checkpoints_cannot_be_read_from_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / ("x" if name == "gs:" else "")
    with pytest.raises(UserError, match="checkpoints cannot be kept in .* pass another --workdir"):
        Checkpoints(folder / "state")


def test_a_checkpoint_that_cannot_be_read_back_is_noticed_when_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax.numpy as jnp

    from can.runs import checkpoint

    monkeypatch.setattr(checkpoint, "forms_in", lambda folder: {})
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(UserError, match="1 cannot be read back as it was written"):
        checkpoints.save(1, {"x": jnp.zeros(3)}, wait=True)
    checkpoints.close()


def test_cdpath_sends_no_script_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "experiments").mkdir()
    script = (REPOSITORY / "experiments" / "setup.sh").read_text()
    (tmp_path / "experiments" / "setup.sh").write_text(script.split("\ncan_fail()")[0] + '\necho "$CAN_ROOT"\n')
    environment = os.environ | {"CDPATH": f".:{tmp_path}"}
    command = ["bash", "experiments/setup.sh"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path.resolve()}\n"


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can give a folder away")
def test_a_clone_of_another_user_has_its_commit_and_one_that_is_damaged_says_why(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b.c",
            "-c",
            "commit.gpgsign=false",
            "-c",
            f"safe.directory={tmp_path}",
        ]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "can").mkdir()
    (tmp_path / "can" / "a.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    for path in (tmp_path, tmp_path / ".git"):
        os.chown(path, 54321, 54321)
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / ".git" / "HEAD").write_text("damaged")
    state = git_state(tmp_path)
    assert state["commit"] is None and state["why"] and str(tmp_path) not in state["why"]


def test_a_history_that_an_earlier_version_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "images.json"
    write_json(path, {"smoke train": "f"})
    history = ImageHistory(path)
    assert history.changed({"smoke train": "f"}) == ""
    history.note({"smoke train": "f"}, 3)
    assert read_json(path) == [{"from_step": 0, "data": {"smoke train": "f"}}]


def test_a_cache_of_some_of_the_images_is_made_anew(tmp_path: Path) -> None:
    from flax import nnx
    from test_eval_classes import MODEL, images

    from can.evals.encoder import Encoder
    from can.models import ViT

    encoder = Encoder.from_model(ViT(MODEL, rngs=nnx.Rngs(0)))
    toys = images([0, 1, 2, 0, 1, 2])
    expected = extract_features(encoder, toys, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for features, labels in (
        (expected[0][:2], expected[1][:2]),
        (expected[0], expected[1][::-1].copy()),
        (expected[0].astype(np.float64), expected[1]),
        (np.full_like(expected[0], np.nan), expected[1]),
    ):
        file = io.BytesIO()
        np.savez(file, features=features, labels=labels)
        path.write_bytes(file.getvalue())
        assert _read_cache(path, encoder, toys) is None
        np.testing.assert_array_equal(extract_features(encoder, toys, cache_dir=tmp_path)[0], expected[0])
    for cut in (b"", whole[:100], whole[:-30]):
        path.write_bytes(cut)
        assert _read_cache(path, encoder, toys) is None


def test_protocols_that_cannot_work_are_refused_when_they_are_made() -> None:
    with pytest.raises(ConfigError, match="warmup_epochs 9 exceed the linear probe's 2 epochs"):
        dataclasses.replace(SCALES["smoke"].linear_probe, warmup_epochs=9)
    assert json.dumps(dataclasses.asdict(SCALES["smoke"].finetune))
