"""What a set of web images costs: `python experiments/benchmarks/web_images.py --folder=PHOTOS`.

Cuts --images JPEGs of each of --sides out of your photos, a tenth of them twice, into tar shards as img2dataset writes
them (its quality of 95). Times in one thread what an image takes to be read, decoded and compared, then the whole of
`can.recipes.make_web_images`: processor time of all its processes, for all shards less that for a tenth of them,
so that its start does not count. It needs the extra `web`. Two minutes; rows go to `results/web_images.csv`.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import io
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from can import data
from can.commands import cli
from can.commands.folder_flags import define_folder
from can.data.decode import decode_rgb
from can.data.image_set import EncodedImages
from can.errors import DataError
from can.recipes.web_images.looks import look_at
from can.recipes.web_images.shards import read_shard
from experiments.benchmarks import measurement
from experiments.benchmarks.measurement import Measurement
from experiments.benchmarks.photos import load_photos

REPOSITORY = Path(__file__).resolve().parents[2]
QUALITY = 95
TWICE = 10  # of so many images, one is a copy of the one before
PARTS = 10  # shards


def cuttings(photos: EncodedImages, side: int, count: int) -> Iterator[bytes]:
    """JPEGs of `side` by 4/3 `side` pixels, each a piece of a photo at a random place and size."""
    rng = np.random.default_rng(side)
    width, before = 4 * side // 3, b""
    pixels = [decode_rgb(photos[index][0], photos.describe(index)) for index in range(len(photos))]
    for index in range(count):
        if index % TWICE != TWICE - 1:
            photo = pixels[rng.integers(len(pixels))]
            most = min(photo.shape[0] / side, photo.shape[1] / width)
            scale = rng.uniform(most / 3, most)
            high, wide = int(scale * side), int(scale * width)
            top, left = rng.integers(photo.shape[0] - high + 1), rng.integers(photo.shape[1] - wide + 1)
            piece = cv2.resize(photo[top : top + high, left : left + wide], (width, side), interpolation=cv2.INTER_AREA)
            piece = cv2.cvtColor(piece, cv2.COLOR_RGB2BGR)
            before = cv2.imencode(".jpg", piece, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        yield before


def write_shards(folder: Path, images: Sequence[bytes]) -> list[Path]:
    """PARTS archives of the images."""
    size = len(images) // PARTS
    paths = [folder / f"{part:05d}.tar" for part in range(PARTS)]
    for part, path in enumerate(paths):
        with tarfile.open(path, "w") as archive:
            for index in range(part * size, (part + 1) * size):
                member = tarfile.TarInfo(f"{index:09d}.jpg")
                member.size = len(images[index])
                archive.addfile(member, io.BytesIO(images[index]))
    return paths


def stage_seconds(paths: Sequence[Path]) -> Measurement:
    """Processor seconds of this thread for all images of the shards, stage by stage."""
    start = time.thread_time()
    images: list[bytes] = []
    for path in paths:
        with path.open("rb") as file:
            images.extend(image for _, image in read_shard(file, path.name) if isinstance(image, bytes))
    read = time.thread_time()
    for image in images:
        decode_rgb(image, "image")
    decoded = time.thread_time()
    for image in images:
        look_at("image", image)
    looked = time.thread_time()
    return dict(reading_s=read - start, decoding_s=decoded - read, comparing_s=(looked - decoded) - (decoded - read))


def command_seconds(source: str, data_dir: Path) -> float:
    """Processor seconds of the whole command."""
    command = [sys.executable, "-m", "can.recipes.make_web_images", f"--source={source}", f"--data_dir={data_dir}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise DataError((done.stderr.strip().splitlines() or ["the command failed"])[-1])
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def measure(photos: EncodedImages, side: int, count: int) -> Measurement:
    """All rates for images of one size."""
    images = list(cuttings(photos, side, count))
    with tempfile.TemporaryDirectory() as place:
        paths = write_shards(Path(place), images)
        stages = stage_seconds(paths)
        tenth = command_seconds(str(paths[0]), Path(place) / "tenth")
        whole = command_seconds(place, Path(place) / "whole")
    counted = len(images) // PARTS * PARTS
    return dict(
        side=side,
        images=counted,
        bytes_per_image=sum(map(len, images)) / len(images),
        **{f"{name.removesuffix('_s')}_per_s": counted / seconds for name, seconds in stages.items()},
        images_per_core_s=(counted - counted // PARTS) / (whole - tenth),
    )


def main() -> None:
    """Measures each size."""
    values = flags.FLAGS
    photos = load_photos(values.folder, values.data_dir)
    cv2.setNumThreads(1)
    path = Path(values.results_dir) / "web_images.csv"
    for side in map(int, values.sides):
        found = measure(photos, side, values.images)
        print(f"{side} pixels: {found['images_per_core_s']:.0f} images a second and core")
        measurement.save(path, [found | measurement.circumstances()], ("side",))
    print(measurement.told(path))


if __name__ == "__main__":
    flags.DEFINE_string("folder", None, "a folder or .zip file of photos", required=True)
    flags.DEFINE_integer("images", 3000, "of each size", lower_bound=10 * PARTS)
    flags.DEFINE_list("sides", ["256", "512"], "pixels of the shorter side; img2dataset's own is 256")
    define_folder("data_dir", str(data.DEFAULT_DATA_DIR), "where data sets are kept")
    define_folder("results_dir", str(REPOSITORY / "results"), "where web_images.csv goes")
    cli.run(main)
