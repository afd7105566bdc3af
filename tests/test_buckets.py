"""Checkpoints in a bucket keep what those in a folder promise; what keeps a bucket from being used is one line."""

from __future__ import annotations

import csv
import io
import itertools
import json
import logging
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from commands import Commands

from can.errors import ConfigError, UserError
from can.runs.checkpoint import Checkpoints
from can.system import places
from can.system.places import Place, access_error, failures, place, steps_in

REPOSITORY = Path(__file__).resolve().parent.parent
SMOKE = ("--scale=smoke", "--method=mae", "--name=run", "--total_steps=6", "--log_every=1", "--checkpoint_every=2")


class Google:
    """A fake of Google Cloud Storage.

    Attributes:
      answer: what it says to a request instead of serving it: an HTTP status, or None. It is given the request as
        text: method, address, and of an upload its beginning, where the object's name may be.
    """

    def __init__(self, storage: Any) -> None:
        self.storage, self._numbers = storage, itertools.count()
        self.answer: Callable[[str], int | None] = lambda request: None

    def refuse(self, pattern: str, status: int) -> None:
        """Answers requests that the pattern is found in with `status`."""
        self.answer = lambda request: status if re.search(pattern, request) else None

    def kill(self, process: subprocess.Popen[Any], moment: str) -> None:
        """Kills a process when it uploads the object whose name ends so."""

        def kill(request: str) -> int | None:
            if not re.search(rf"^(POST|PUT) .*{re.escape(moment)}([&\" ]|$)", request):
                return None
            process.kill()
            return 503

        self.answer = kill

    def new_bucket(self) -> Place:
        """A place in a bucket of its own."""
        name = f"bucket-{next(self._numbers)}"
        self.storage.create_bucket(name, {"name": name})
        return place(f"gs://{name}/some runs/a=1")

    def files(self, where: Place) -> list[Place]:
        """What is in a place."""
        bucket, _, prefix = str(where).removeprefix("gs://").partition("/")
        found = self.storage.get_file_list(bucket, prefix + "/")[0]
        return [place(f"gs://{bucket}/{entry['name']}") for entry in found]


@pytest.fixture(scope="module")
def server() -> Iterator[Google]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"http://localhost:{free.getsockname()[1]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", address)  # gcsfs and Google's own client
        patch.setenv("TENSORSTORE_GCS_HTTP_URL", address)
        patch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "a token")
        patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # else it asks by gRPC, which the fake does not know
        pytest.importorskip("gcsfs")
        fake = pytest.importorskip("gcp_storage_emulator.server")
        started = fake.create_server("localhost", int(address.rpartition(":")[2]), in_memory=True)
        google = Google(started._storage)
        serve = fake.Router.handle

        def handle(router: Any, method: str) -> None:
            request = router._request_handler
            body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
            request.rfile = io.BytesIO(body)
            text = f"{method} {unquote(request.path)} {body[:500].decode(errors='replace')}"
            status = google.answer(" ".join(text.split()))
            if status is None:
                serve(router, method)
                return
            said = json.dumps({"error": {"code": status, "message": "says the fake"}}).encode()
            request.send_response(status)
            request.send_header("Content-Length", str(len(said)))
            request.end_headers()
            request.wfile.write(said)

        patch.setattr(fake.Router, "handle", handle)
        patch.setattr(fake.server.HTTPServer, "request_queue_size", 128)  # with 5, some connections wait for a second
        # Clients that have read enough, or are killed, hang up.
        patch.setattr(fake.server.HTTPServer, "handle_error", lambda server, request, client: None)
        logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
        started.start()
        yield google
        started.stop()


@pytest.fixture
def google(server: Google) -> Iterator[Google]:
    yield server
    server.answer = lambda request: None


def state(step: int) -> dict[str, Any]:
    random = np.random.default_rng(step)
    return {"params": {"x": jnp.asarray(random.standard_normal((40, 40)))}, "step": jnp.int32(step)}


def assert_is(restored: Any, step: int) -> None:
    assert restored is not None and restored[1] == step
    jax.tree.map(np.testing.assert_array_equal, restored[0], state(step))


def flip_a_byte(path: Place) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_a_state_comes_back_whole_and_in_part_and_the_latest_and_the_kept_stay(google: Google) -> None:
    where = google.new_bucket()
    assert Checkpoints(where).restore(state(0)) is None and Checkpoints(where).latest_step is None
    with Checkpoints(where, keep_every=4) as checkpoints:
        for step in range(1, 8):
            checkpoints.save(step, state(step))
    assert Checkpoints(where).steps == [4, 6, 7]
    assert {path.relative_to(where).parts[0] for path in google.files(where)} == {"4", "6", "7"}
    assert_is(Checkpoints(where).restore(state(0)), 7)
    part = Checkpoints(where).restore_part("params", example=state(0)["params"], step=4)
    assert part is not None and part[1] == 4
    np.testing.assert_array_equal(part[0]["x"], state(4)["params"]["x"])
    with pytest.raises(UserError, match="/7 is of another model: params/x is"):
        Checkpoints(where).restore({"params": {"x": jnp.zeros(3)}})
    with pytest.raises(ValueError, match="has step 7 already"):
        Checkpoints(where).save(7, state(7))
    Checkpoints(where).clear()
    assert google.files(where) == [] and Checkpoints(where).steps == []


@pytest.mark.parametrize("damage", [flip_a_byte, lambda path: path.unlink()], ids=["flipped", "missing"])
def test_any_damage_to_any_file_is_noticed_and_the_checkpoint_before_is_used(
    google: Google, damage: Callable[[Place], None]
) -> None:
    where = google.new_bucket()
    with Checkpoints(where) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step))
    paths = [path for path in google.files(where / "2") if path.parent != where / "2"]
    assert {path.name for path in paths} >= {"_METADATA", "_sharding", "manifest.ocdbt"} and len(paths) >= 7
    for path in paths:
        content = path.read_bytes()
        if not content:
            continue
        damage(path)
        assert_is(Checkpoints(where).restore(state(0)), 1)
        path.write_bytes(content)
    assert_is(Checkpoints(where).restore(state(0)), 2)
    damage(paths[0])
    with Checkpoints(where) as checkpoints:
        assert_is(checkpoints.restore(state(0)), 1)
        assert checkpoints.steps == [1, 2]  # reading changes nothing
        checkpoints.save(2, state(2))
    assert Checkpoints(where).steps == [1, 2]
    assert_is(Checkpoints(where).restore(state(0)), 2)


SAVE_TWO = """
import sys
import jax.numpy as jnp, numpy as np
from can.runs.checkpoint import Checkpoints

def state(step):
    random = np.random.default_rng(step)
    return {"params": {"x": jnp.asarray(random.standard_normal((40, 40)))}, "step": jnp.int32(step)}

checkpoints = Checkpoints(sys.argv[1])
for step in (1, 2):
    checkpoints.save(step, state(step), wait=True)
"""


@pytest.mark.parametrize("moment", ["2/state/manifest.ocdbt", "2/SHA256SUMS", "2/commit_success.txt"])
def test_a_process_killed_in_a_save_leaves_the_checkpoint_before_and_the_next_save_clears_the_rest_away(
    google: Google, moment: str
) -> None:
    where = google.new_bucket()
    process = subprocess.Popen([sys.executable, "-c", SAVE_TWO, str(where)], cwd=REPOSITORY)
    google.kill(process, moment)
    assert process.wait(timeout=120) == -signal.SIGKILL
    left = google.files(where / "2")
    assert left and steps_in(where) == [1]
    assert_is(Checkpoints(where).restore(state(0)), 1)
    assert google.files(where / "2") == left  # reading changes nothing: another process may be writing it
    with Checkpoints(where) as checkpoints:
        checkpoints.save(3, state(3))
    assert Checkpoints(where).steps == [1, 3] and google.files(where / "2") == []
    assert_is(Checkpoints(where).restore(state(0)), 3)


def test_a_bucket_that_is_not_there_is_one_line(google: Google, capfd: pytest.CaptureFixture[str]) -> None:
    nowhere = place("gs://no-such-bucket/x")
    for use in (
        lambda: Checkpoints(nowhere).latest_step,
        lambda: Checkpoints(nowhere).restore(state(0)),
        lambda: Checkpoints(nowhere).save(1, state(1), wait=True),
    ):
        with pytest.raises(UserError, match="cannot use gs://no-such-bucket/x.*no such bucket.*: make it") as raised:
            use()
        assert "\n" not in str(raised.value)
    assert "Traceback" not in capfd.readouterr().err.replace("Exception occurred during processing", "")


@pytest.mark.parametrize(
    ("status", "message"), [(403, "it is not allowed.*: give this account the roles"), (401, "nobody is logged in")]
)
def test_a_bucket_that_may_not_be_used_is_one_line_and_no_damage(google: Google, status: int, message: str) -> None:
    where = google.new_bucket()
    with Checkpoints(where) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step))
    checkpoints = Checkpoints(where)
    for refused in ("^GET .*/o[?]", "^GET .*/2/state/manifest.ocdbt", "^GET .*/2/state/d/.*"):
        google.refuse(refused, status)
        with pytest.raises(UserError, match=f"cannot use {where}.*{message}"):
            checkpoints.restore(state(0))
    for refused in ("^(POST|PUT) ", "^(POST|PUT) .*SHA256SUMS", "^(POST|PUT) .*3/commit_success"):
        google.refuse(refused, status)
        with pytest.raises(UserError, match=f"cannot use {where}.*{message}"):
            checkpoints.save(3, state(3), wait=True)
    google.answer = lambda request: None
    assert Checkpoints(where).steps == [1, 2]
    checkpoints.save(3, state(3), wait=True)  # once it is allowed, saving works again
    checkpoints.close()
    assert Checkpoints(where).steps == [2, 3]


def test_what_a_bucket_does_not_answer_is_no_damage_either(google: Google) -> None:
    import aiohttp

    where = google.new_bucket()
    for error in (
        aiohttp.ClientConnectionError("Cannot connect to host storage.googleapis.com:443"),
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
        ValueError("UNAVAILABLE: CURL error Could not resolve hostname: Error opening zarr"),
    ):
        assert isinstance(error, failures(where))
        assert "does not answer" in str(access_error(where, error, found=True))
    for error in (FileNotFoundError("b/x/o/y"), ValueError("NOT_FOUND: y"), ValueError("DATA_LOSS: cut short")):
        assert access_error(where, error, found=True) is None
    assert access_error(Path("/x"), PermissionError("no")) is None


def numbers(folder: Path) -> Any:
    rows = list(csv.DictReader((folder / "smoke" / "run" / "train.csv").open()))
    weights = json.loads((folder / "smoke" / "run" / "provenance.json").read_text())["weights"]
    return [{name: row[name] for name in row if name != "images_per_second"} for row in rows], weights


def flags(folder: Path, *others: str) -> list[str]:
    return [*SMOKE, f"--results_dir={folder}/results", f"--workdir={folder}/work", f"--data_dir={folder}", *others]


def pretrain(*flags: str) -> list[str]:
    return [sys.executable, str(REPOSITORY / "experiments" / "pretrain.py"), *flags]


def test_a_run_killed_in_a_save_to_a_bucket_goes_on_to_the_same_numbers(
    google: Google, commands: Commands, tmp_path: Path
) -> None:
    where = google.new_bucket()
    given = flags(tmp_path / "bucket", f"--checkpoints={where}")
    process = subprocess.Popen(pretrain(*given), stderr=subprocess.PIPE, text=True)

    google.kill(process, "/state/4/commit_success.txt")
    process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    google.answer = lambda request: None
    run = where / "smoke" / "run"
    assert steps_in(run / "state") == [2] and google.files(run / "state" / "4")
    for progress in ("step 6", "is pre-trained already"):
        done = subprocess.run(pretrain(*given), capture_output=True, text=True, timeout=240)
        assert done.returncode == 0 and progress in done.stderr, done.stderr
    assert steps_in(run / "state") == [4, 6]
    assert not (tmp_path / "bucket" / "work" / "smoke" / "run" / "state").exists()
    whole = commands("experiments/pretrain.py", *flags(tmp_path / "folder"))
    assert whole.returncode == 0, whole.stderr
    assert numbers(tmp_path / "bucket" / "results") == numbers(tmp_path / "folder" / "results")

    other = [*flags(tmp_path / "other", f"--checkpoints={where}"), "--base_lr=0.5"]
    done = subprocess.run(pretrain(*other), capture_output=True, text=True, timeout=240)
    assert done.returncode == 1 and "holds a run of this name with another configuration" in done.stderr
    done = subprocess.run(pretrain(*other, "--force=train"), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0 and steps_in(run / "state") == [4, 6], done.stderr


def test_the_flag_moves_the_checkpoints_alone_and_training_anew_deletes_them(
    commands: Commands, tmp_path: Path
) -> None:
    given = flags(tmp_path, f"--checkpoints={tmp_path}/large")
    state, work = tmp_path / "large" / "smoke" / "run" / "state", tmp_path / "work" / "smoke" / "run"
    assert commands("experiments/pretrain.py", *given).returncode == 0
    assert steps_in(state) == [4, 6]
    assert not (work / "state").exists() and (work / "train.csv").exists() and (work / "clock.json").exists()
    assert "is pre-trained already" in commands("experiments/pretrain.py", *given).stderr
    assert commands("experiments/evaluate.py", *given, "--eval=few_shot").returncode == 0
    (state / "2").mkdir()
    assert commands("experiments/pretrain.py", *given, "--force=train").returncode == 0
    assert steps_in(state) == [4, 6]


def test_the_folder_of_the_checkpoints_may_be_named_as_the_one_where_they_are(
    commands: Commands, tmp_path: Path
) -> None:
    assert commands("experiments/pretrain.py", *flags(tmp_path)).returncode == 0
    done = commands("experiments/pretrain.py", *flags(tmp_path, f"--checkpoints={tmp_path}/work"))
    assert "is pre-trained already" in done.stderr


@pytest.mark.parametrize("name", ["s3://bucket/x", "gs://", "gs://x", "gs:///x", "gs://bucket/x*", "gs://Bucket/x"])
def test_what_is_no_bucket_is_one_line(commands: Commands, tmp_path: Path, name: str) -> None:
    done = commands("experiments/pretrain.py", *flags(tmp_path, f"--checkpoints={name}"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"{name} is no bucket to keep checkpoints in: write gs://BUCKET/PATH" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_gcsfs_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"gs://bucket/x needs gcsfs: install it with `pip install -e '.\[gcs\]'`"):
        place("gs://bucket/x")
