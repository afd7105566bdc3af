"""What a machine, a shell or a clone does to a command: said in one line, or of no effect."""

from __future__ import annotations

import errno
import importlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import grain
import matplotlib
import pytest
from conftest import RunPython
from matplotlib import pyplot as plt
from PIL import Image

from analysis.lib import drawing
from can import data
from can.commands import cli
from can.commands.output import LastingOutput
from can.data.workers import FromWorkers
from can.errors import DataError, UserError
from can.recipes import make_imagenet, make_web_images
from can.system.files import write_error

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_output_whose_encoding_lacks_a_letter_replaces_it(encoding: str) -> None:
    kept = io.BytesIO()
    stream = LastingOutput(io.TextIOWrapper(kept, encoding=encoding))
    print("47.9 – a name that is no UTF-8: \udcff", file=stream, flush=True)
    assert kept.getvalue() == b"47.9 ? a name that is no UTF-8: ?\n"


def test_a_table_that_a_full_disk_did_not_keep_is_an_error_and_a_reader_that_is_gone_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", LastingOutput(full))
        print("a table")
        with pytest.raises(UserError, match="could not be kept: the disk is full"):
            cli._check_output()
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", LastingOutput(closed))
        print("a table")
        cli._check_output()


def test_an_accelerator_that_is_not_there_is_one_line_with_what_is(run_python: RunPython) -> None:
    done = run_python(
        REPOSITORY / "experiments" / "pretrain.py",
        *("--scale=smoke", "--method=mae", "--results_dir=r", "--workdir=w"),
        env={"JAX_PLATFORMS": "cuda"},
        check=False,
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "JAX_PLATFORMS=cuda asks for what this machine" in done.stderr and "there is 1 x cpu" in done.stderr


def test_a_users_matplotlibrc_changes_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(plt.rcParams, "text.usetex", True)
    monkeypatch.setitem(plt.rcParams, "lines.linewidth", 9)
    importlib.reload(drawing)
    changed = {name for name in plt.rcParams if plt.rcParams[name] != matplotlib.rcParamsDefault[name]}
    assert changed - {"backend", "backend_fallback"} == {*drawing.STYLE}
    assert os.environ["MPLBACKEND"] == "Agg"  # which matplotlib asks for when it is imported


def failing(error: Exception) -> FromWorkers[int]:
    """What worker processes would make if grain did not raise `error`."""

    def fail(step: int) -> int:
        raise error

    return FromWorkers(iter(grain.MapDataset.range(1).map(fail).to_iter_dataset()))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE, errno.ENOSYS])
def test_processes_that_cannot_be_had_are_one_line_that_names_shared_memory_and_the_way_without(code: int) -> None:
    with pytest.raises(UserError, match="/dev/shm.*--workers=0 decodes without them"):
        next(failing(OSError(code, os.strerror(code))))


def test_a_page_of_shared_memory_that_could_not_be_had_is_named() -> None:
    gone = RuntimeError("Grain worker process 0 was terminated unexpectedly with exit code -7")
    with pytest.raises(UserError, match="signal 7, .* of /dev/shm"):
        next(failing(gone))


def test_a_zip_that_python_cannot_unpack_says_what_helps(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(png := tmp_path / "0.png")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(png, "a/0.png")
    whole = bytearray((tmp_path / "photos.zip").read_bytes())
    for header, place in ((b"PK\3\4", 8), (b"PK\1\2", 10)):  # where each says how it is compressed: 9 is Deflate64
        whole[whole.index(header) + place] = 9
    (tmp_path / "photos.zip").write_bytes(whole)
    with pytest.raises(DataError, match=r"0\.png is compressed in a way \(number 9\).*unpack the archive") as error:
        data.load(f"folder:{tmp_path}/photos.zip", "train", data_dir=tmp_path)
    assert "fetch" not in str(error.value)


def test_photos_whose_names_are_not_utf8_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos := tmp_path / "photos").mkdir()
    for index in range(5):
        Image.new("RGB", (8, 8)).save(made := photos / f"{index}.png")
        made.rename(photos / os.fsdecode(b"\xff%d.png" % index))
    make_imagenet.main([f"--folder={photos}", f"--data_dir={tmp_path}/data"])
    assert capsys.readouterr().out.startswith("wrote ")


@pytest.mark.parametrize("command", [make_imagenet, make_web_images])
def test_commands_need_no_docstrings(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under `python -OO`, and with PYTHONOPTIMIZE=2."""
    monkeypatch.setattr(command, "__doc__", None)
    with pytest.raises(SystemExit) as end:
        command.main(["--help"])
    assert end.value.code == 0


def test_a_place_that_cannot_be_is_not_to_be_made_writable() -> None:
    for code in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EROFS):
        assert "name another place" in str(write_error(Path("x"), OSError(code, os.strerror(code))))
    assert "make that place writable" in str(write_error(Path("x"), PermissionError(errno.EACCES, "Permission denied")))


def test_a_clone_on_windows_keeps_the_ends_of_lines() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("needs a git checkout")
    asked = ["experiments/setup.sh", ".ci/run", "requirements.txt", "analysis/paper_values.csv"]
    command = ["git", "-C", str(REPOSITORY), "check-attr", "eol", "--", *asked]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said == "".join(f"{name}: eol: lf\n" for name in asked)
