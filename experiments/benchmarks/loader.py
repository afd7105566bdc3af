"""Images a second that the training loader yields, and its memory: `python experiments/benchmarks/loader.py`.

Takes the batches of `can.data.batches` as training does, without a training step, for 20,000 images of --data:
`offline_mix` (small images, cropped on the device) or, with --data=folder:PHOTOS.zip, two crops of 224 pixels of each
photo. The loader keeps up with a training step that takes fewer images a second than this. The process's peak memory
after a tenth of the images and after all of them tells whether it grows. A minute; adds a row to results/loader.csv.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import contextlib
import itertools
import time
from pathlib import Path

from absl import flags

from can import data
from can.commands import cli
from can.commands.folder_flags import define_folder
from can.config import AugmentConfig
from can.runs.provenance import peak_memory_mb
from experiments.benchmarks import measurement
from experiments.benchmarks.measurement import Measurement

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE, VIEWS = 224, 2


def measure(name: str, images: int, batch_size: int, workers: int, data_dir: str) -> Measurement:
    """One pass over `images` images of the endless batches of a set; the start is not in the rate."""
    image_set = data.load(name, "train", data_dir=data_dir).without_labels()
    area = (AugmentConfig().crop_area_min, AugmentConfig().crop_area_max)
    source = data.batches(
        image_set, batch_size=batch_size, seed=0, views=VIEWS, image_size=SIZE, crop_area=area, workers=workers
    )
    steps = images // batch_size
    tenth = max(1, steps // 10)
    with contextlib.closing(source):
        for _ in itertools.islice(source, tenth):
            pass
        before, start = peak_memory_mb(), time.perf_counter()
        for _ in itertools.islice(source, steps - tenth):
            pass
        seconds = time.perf_counter() - start
    return dict(
        data="folder:" + Path(name).name if name.startswith("folder:") else name,  # whose path is of this machine alone
        images=steps * batch_size,
        batch_size=batch_size,
        workers=workers,
        images_per_s=(steps - tenth) * batch_size / seconds,
        peak_mb_of_a_tenth=before,
        peak_mb=peak_memory_mb(),
    )


def main() -> None:
    """Measures one set; a second one in the same process would hide its memory behind the first one's."""
    values = flags.FLAGS
    found = measure(values.data, values.images, values.batch_size, values.workers, values.data_dir)
    print(
        f"{found['data']}: {found['images_per_s']:,.0f} images/s, peak memory {found['peak_mb_of_a_tenth']} MB after a "
        f"tenth of {found['images']:,} images, {found['peak_mb']} MB after all"
    )
    path = Path(values.results_dir) / "loader.csv"
    measurement.save(path, [found | measurement.circumstances()], ("data", "workers"))
    print(measurement.told(path))


if __name__ == "__main__":
    flags.DEFINE_string("data", "offline_mix", "a data set's name, or folder:PATH of photos")
    flags.DEFINE_integer("images", 20_000, "images to read", lower_bound=20)
    flags.DEFINE_integer("batch_size", 64, "images a batch", lower_bound=1)
    flags.DEFINE_integer("workers", 0, "processes that decode photos; 0: threads of this one", lower_bound=0)
    define_folder("data_dir", str(data.DEFAULT_DATA_DIR), "where data sets are kept")
    define_folder("results_dir", str(REPOSITORY / "results"), "where loader.csv goes")
    cli.run(main)
