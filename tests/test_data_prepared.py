"""What is prepared on disk appears whole or not at all: killed, started twice, on a full disk, over a bad network."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from can.data import array_store
from can.data.prepared import prepare_once
from can.errors import DataError
from can.recipes.download import download

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if self.path == "/cut" else CONTENT)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def address():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_download_with_the_right_checksum_is_kept(address, tmp_path):
    assert download(f"{address}/whole", tmp_path / "file", SHA256).read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("path", "sha256", "message"),
    [
        ("/cut", SHA256, f"cut short: {len(CONTENT) // 2} of {len(CONTENT)} bytes"),
        ("/whole", "0" * 64, "checksum error: .*/whole has sha256"),
        ("/missing", SHA256, "cannot download .*/missing .*Not Found"),
    ],
)
def test_a_bad_download_is_one_line_and_leaves_no_file(address, tmp_path, path, sha256, message):
    with pytest.raises(DataError, match=message) as error:
        download(address + path, tmp_path / "file", sha256)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_built_once_and_then_found(tmp_path):
    calls = []

    def build(folder):
        calls.append(folder)
        (folder / "data").write_text("whole")

    for _ in range(2):
        assert (prepare_once(tmp_path / "a" / "set", build) / "data").read_text() == "whole"
    assert len(calls) == 1
    assert calls[0] != tmp_path / "a" / "set"


def test_a_build_that_fails_leaves_nothing_behind_and_can_be_repeated(tmp_path):
    def fail(folder):
        (folder / "half").write_text("half")
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        prepare_once(tmp_path / "set", fail)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    assert prepare_once(tmp_path / "set", lambda folder: None).is_dir()


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, r"disk full at .*MB free.*--data_dir"), (errno.EACCES, "cannot write to .*--data_dir")],
)
def test_a_full_disk_and_a_forbidden_one_are_errors_that_say_what_to_do(tmp_path, number, message):
    def fail(folder):
        raise OSError(number, "from the system")

    with pytest.raises(DataError, match=message):
        prepare_once(tmp_path / "set", fail)


_SLOW_BUILD = textwrap.dedent(
    """
    import pathlib, sys, time
    from can.data.prepared import prepare_once

    def build(folder):
        with open(sys.argv[2], "a") as log:
            log.write("built\\n")
        (folder / "half").write_text("half")
        time.sleep(float(sys.argv[3]))
        (folder / "half").rename(folder / "whole")

    folder = prepare_once(pathlib.Path(sys.argv[1]), build)
    print(sorted(path.name for path in folder.iterdir()))
    """
)


def _start_build(tmp_path, seconds):
    command = [sys.executable, "-c", _SLOW_BUILD, tmp_path / "set", tmp_path / "log", str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_start_at_once_build_once_and_both_see_the_whole(tmp_path):
    processes = [_start_build(tmp_path, 1) for _ in range(2)]
    assert [process.communicate()[0] for process in processes] == ["['whole']\n"] * 2
    assert (tmp_path / "log").read_text() == "built\n"


def test_a_killed_build_leaves_no_folder_and_does_not_block_the_next(tmp_path):
    process = _start_build(tmp_path, 600)
    while not (tmp_path / "log").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert not (tmp_path / "set").exists()
    assert len(list(tmp_path.glob(".set.*/half"))) == 1
    assert prepare_once(tmp_path / "set", lambda folder: (folder / "whole").touch()).is_dir()
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["whole"]
    assert not list(tmp_path.glob(".set.*/"))


def _store(folder, value=7):
    images = np.full((5, 4, 4, 3), value, np.uint8)
    array_store.write(
        folder, {"train": (images, np.arange(5, dtype=np.int32)), "extra": (images, None)}, tuple("abcde")
    )


def test_stored_arrays_come_back_memory_mapped_with_labels_where_there_are_some(tmp_path):
    _store(tmp_path)
    splits = array_store.read(tmp_path, "numbers")
    assert isinstance(splits["train"].images, np.memmap)
    assert (splits["train"].images == 7).all()
    assert (splits["train"].num_classes, splits["train"].class_names) == (5, tuple("abcde"))
    np.testing.assert_array_equal(splits["train"].labels, np.arange(5))
    assert (splits["extra"].num_classes, splits["extra"].class_names, splits["extra"].labels) == (None, (), None)


def test_fingerprints_of_stored_arrays_follow_the_pixels(tmp_path):
    prints = []
    for place, value in (("a", 7), ("b", 7), ("c", 8)):
        (tmp_path / place).mkdir()
        _store(tmp_path / place, value)
        prints.append(array_store.read(tmp_path / place, "numbers")["train"].fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_a_damaged_store_says_which_folder_to_delete(tmp_path):
    _store(tmp_path)
    images = tmp_path / "train-images.npy"
    images.write_bytes(images.read_bytes()[:-50])
    with pytest.raises(DataError, match="is damaged .*delete that folder"):
        array_store.read(tmp_path, "numbers")
    _store(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps({"splits": {}})[:-1])
    with pytest.raises(DataError, match="is damaged"):
        array_store.read(tmp_path, "numbers")


@pytest.mark.parametrize("name", ["train-images.npy", "train-labels.npy", "extra-images.npy"])
def test_no_flipped_bit_of_a_store_goes_unnoticed(tmp_path, name):
    _store(tmp_path)
    array_store.read(tmp_path, "numbers")  # the same process has found it whole before
    content = bytearray((tmp_path / name).read_bytes())
    content[-7] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name.split('-')[0]} is not what was written.*delete that folder"):
        array_store.read(tmp_path, "numbers")
