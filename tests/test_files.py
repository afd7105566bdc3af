"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from can.errors import DataError, UserError
from can.system import files
from can.system.files import read_json, write_atomic


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


def test_a_folder_or_a_pipe_in_place_of_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("folder.json", "pipe.json"):
        with pytest.raises(DataError, match=f"{name} is no file"):
            read_json(tmp_path / name)
