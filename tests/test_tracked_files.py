"""What a reader runs changes no tracked file; what is published is made of the published numbers."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import Checkout
from PIL import Image

from analysis import publish_pages

REPOSITORY = Path(__file__).resolve().parent.parent
# Draws made-up images: the real sets of shifted images take downloads.
GALLERY = """
import runpy, sys
import can.data
load = can.data.load
can.data.load = lambda name, split, data_dir: load("smoke", "test[:25]", data_dir=data_dir)
sys.argv[1:] = ["--data_dir=ASIDE/data"]
runpy.run_path("analysis/make_shift_gallery.py", run_name="__main__")
"""
# A cheap start of each command, with the file that it leaves behind; `speed.py` and `jobs.py` are in test_benchmark.py.
COMMANDS = {
    "loader": (
        "experiments/benchmarks/loader.py --data=smoke --images=64 --batch_size=32 --data_dir=ASIDE/data",
        "results/loader.csv",
    ),
    "input": (
        "experiments/benchmarks/input.py --folder=ASIDE/photos.zip --rounds=1 --data_dir=ASIDE/data",
        "results/input.csv",
    ),
    "flops": ("analysis/make_flops.py --sizes=S", "results/flops.md"),
    "tuning": ("analysis/make_tuning.py", None),
    "benchmarks": ("analysis/make_benchmarks.py", None),
    "gallery": (GALLERY, "results/laptop/shift_gallery.png"),
}


@pytest.fixture(scope="module", autouse=True)
def photos(checkout: Checkout) -> None:
    with zipfile.ZipFile(checkout.aside / "photos.zip", "w") as archive:
        photo = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)).save(photo, "jpeg")
        archive.writestr("class/photo.jpg", photo.getvalue())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_readers_command_leaves_tracked_files_alone(checkout: Checkout, name: str) -> None:
    command, written = COMMANDS[name]
    command = command.replace("ASIDE", str(checkout.aside))
    done = checkout.run(*(["-c", command] if name == "gallery" else command.split()))
    assert done.returncode == 0, done.stderr
    assert done.stdout  # it says what it made
    assert written is None or (checkout.root / written).is_file()
    assert checkout.changes() == ""


def test_a_commands_default_folder_is_ignored_and_what_is_published_is_not(checkout: Checkout) -> None:
    for path in ("results/laptop/table2.md", "results/flops.csv", "results/tuning/laptop/tuning.md"):
        assert checkout.ignores(path)
    for path in ("results/published/flops.csv", "results/published/laptop/new.csv"):
        assert not checkout.ignores(path)


def test_published_tables_are_made_of_the_published_numbers() -> None:
    made = publish_pages.tables()
    names = {f"{name}.{kind}" for name in ("appendix_b", "hyperparameters") for kind in ("csv", "md", "tex")}
    assert {path.name for path in made} == names | {"flops.md", "flops.tex", "tuning.md", "tuning.csv"}
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, path


@pytest.mark.parametrize("name", publish_pages.PAGES)
def test_pages_have_the_tables_of_the_published_numbers(name: str) -> None:
    page = (REPOSITORY / name).read_text(encoding="utf-8")
    assert publish_pages.fill(page, publish_pages.PUBLISHED) == page
    assert "– (not " not in page
