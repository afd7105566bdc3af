"""Draws what the shifted test sets of a small scale look like: `python analysis/make_shift_gallery.py`.

Writes `shift_gallery.png`, `.pdf` and, of which images are shown, `.csv` into `results/<scale>/`: the same test images
in every set, and one image under each kind and strength of damage. Sets that are not on this machine are made first.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from pathlib import Path

import numpy as np
import pandas as pd
from absl import flags
from jaxtyping import UInt8

from analysis.lib import drawing
from can.commands import cli
from can.commands.evaluations.shifted_sets import BUILT
from can.commands.folder_flags import define_folder
from can.commands.scales import scale_named
from can.commands.setting import RESULTS, Setting
from can.data import DEFAULT_DATA_DIR, ArrayImages, load
from can.errors import DataError
from can.recipes.shifts.corruptions import CORRUPTIONS, SEVERITIES

SHIFTS = tuple(shift for shift in BUILT if shift != "_corruptions")  # those have rows of their own
COLUMNS = 15
DAMAGED = 2  # which test image is shown under every damage
GAP = 2  # pixels between images

Image = UInt8[np.ndarray, "height width 3"]


def gallery(base: str, setting: Setting) -> Path:
    """Draws the shifts of the set `base`; returns where. Raises DataError if a set cannot be made."""
    data_dir = str(setting.data_dir)
    rows = {f"{base}{shift}": _images(f"{base}{shift}", "test", data_dir)[:COLUMNS] for shift in SHIFTS}
    shown = [(name, name, "test", place) for name, images in rows.items() for place in range(len(images))]
    severities: list[list[Image]] = [[] for _ in SEVERITIES]
    for kind in CORRUPTIONS:
        damaged = _images(f"{base}_corruptions", kind, data_dir)
        each = len(damaged) // len(SEVERITIES)
        for place, alike in enumerate(np.split(damaged, len(SEVERITIES))):
            severities[place].append(alike[DAMAGED])
            shown.append((_damage(SEVERITIES[place]), f"{base}_corruptions", kind, place * each + DAMAGED))
    rows |= {_damage(severity): np.stack(images) for severity, images in zip(SEVERITIES, severities, strict=True)}

    figure, axes = drawing.subplots(1, len(rows), width=COLUMNS * 0.8, height=0.85)
    for axis, (name, images) in zip(axes, rows.items(), strict=True):
        axis.imshow(_strip(images), interpolation="none")
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
        axis.set_yticks([])
        axis.set_xticks([])
        axis.spines[:].set_visible(False)
    side = images.shape[2] + GAP
    axes[-1].set_xticks([side * (place + 0.5) for place in range(len(CORRUPTIONS))])
    axes[-1].set_xticklabels([kind.replace("_", "\n") for kind in CORRUPTIONS], fontsize=7)
    axes[-1].tick_params(length=0)
    axes[-1].grid(visible=False)
    return drawing.save(
        figure,
        setting,
        "shift_gallery",
        pd.DataFrame(shown, columns=["row", "set", "split", "image"]),
        source="published",
        caption=f"What the shifted test sets of {base} look like, and one image under each kind of damage.",
        note="",
    )


def _damage(severity: int) -> str:
    return f"damage {severity}"


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
    folder, data_dir = Path(values.results_dir), Path(values.data_dir)
    print(gallery(values.base, Setting(scale_named(values.scale), results_dir=folder, data_dir=data_dir)))


if __name__ == "__main__":
    flags.DEFINE_string("scale", "laptop", "in whose folder of --results_dir the picture goes")
    flags.DEFINE_string("base", "cifar10", "the set whose shifts are drawn: cifar10 or smoke")
    define_folder("data_dir", str(DEFAULT_DATA_DIR), "where data sets are kept")
    define_folder("results_dir", str(RESULTS), "where the results of all scales are")
    cli.run(main)
