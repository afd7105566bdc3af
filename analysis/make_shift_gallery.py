"""Draws what the shifted test sets of a small scale look like: `python analysis/make_shift_gallery.py`.

Writes `results/<scale>/shift_gallery.png`: the same test images in every set, and one image under each kind and
strength of damage. Sets that are not on this machine are made first.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

import io
from pathlib import Path

import matplotlib

from experiments.harness import cli

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from absl import flags
from jaxtyping import UInt8

from can.data import DEFAULT_DATA_DIR, ArrayImages, load
from can.errors import DataError
from can.files import write_atomic
from can.offline_data.shifts.corruptions import CORRUPTIONS, SEVERITIES
from experiments.harness.evaluations.shifted_sets import BUILT

RESULTS = Path(__file__).resolve().parent.parent / "results"
SHIFTS = tuple(shift for shift in BUILT if shift != "_corruptions")  # those have rows of their own
COLUMNS = 15
DAMAGED = 2  # which test image is shown under every damage
GAP = 2  # pixels between images

Image = UInt8[np.ndarray, "height width 3"]


def gallery(base: str, data_dir: str) -> bytes:
    """The picture as PNG. Raises DataError if a set cannot be made."""
    rows = {f"{base}{shift}": _images(f"{base}{shift}", "test", data_dir)[:COLUMNS] for shift in SHIFTS}
    severities: list[list[Image]] = [[] for _ in SEVERITIES]
    for kind in CORRUPTIONS:
        damaged = _images(f"{base}_corruptions", kind, data_dir)
        for place, alike in enumerate(np.split(damaged, len(SEVERITIES))):
            severities[place].append(alike[DAMAGED])
    for severity, shown in zip(SEVERITIES, severities, strict=True):
        rows[f"damage {severity}"] = np.stack(shown)

    figure, axes = plt.subplots(len(rows), 1, figsize=(COLUMNS * 0.8, len(rows) * 0.85))
    for axis, (name, images) in zip(axes, rows.items(), strict=True):
        axis.imshow(_strip(images), interpolation="nearest")
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
        axis.set_yticks([])
        axis.set_xticks([])
        axis.spines[:].set_visible(False)
    side = images.shape[2] + GAP
    axes[-1].set_xticks([side * (place + 0.5) for place in range(len(CORRUPTIONS))])
    axes[-1].set_xticklabels([kind.replace("_", "\n") for kind in CORRUPTIONS], fontsize=7)
    axes[-1].tick_params(length=0)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return file.getvalue()


def _images(name: str, split: str, data_dir: str) -> UInt8[np.ndarray, "n height width 3"]:
    images = load(name, split, data_dir=data_dir)
    if not isinstance(images, ArrayImages):
        raise DataError(f"{name} is not a set of small images: pass --base with one")
    return np.asarray(images.images)


def _strip(images: UInt8[np.ndarray, "n height width 3"]) -> Image:
    """The images side by side on white."""
    padded = np.pad(images, ((0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)


def main() -> None:
    """Draws the gallery that the flags name."""
    values = flags.FLAGS
    path = Path(values.results_dir) / values.scale / "shift_gallery.png"
    write_atomic(path, gallery(values.base, values.data_dir))
    print(path)


if __name__ == "__main__":
    flags.DEFINE_string("scale", "laptop", "in whose folder of --results_dir the picture goes")
    flags.DEFINE_string("base", "cifar10", "the set whose shifts are drawn: cifar10 or smoke")
    flags.DEFINE_string("data_dir", str(DEFAULT_DATA_DIR), "where data sets are kept")
    flags.DEFINE_string("results_dir", str(RESULTS), "where the results of all scales are")
    cli.run(main)
