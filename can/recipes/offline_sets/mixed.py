"""What the pre-training mix holds, so that no evaluation is made on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from can.data.prepared import prepare_once
from can.recipes.cutouts import on_white
from can.recipes.debian import unpacked
from can.recipes.near_copies import thumbnails
from can.recipes.offline_mix import clipart, load_offline_mix
from can.recipes.offline_mix.duplicates import thin_out
from can.recipes.offline_sets.build import SIZE


def mix_thumbnails(data_dir: Path) -> UInt8[np.ndarray, "n 192"]:
    """Thumbnails of the clip art in the mix as it was drawn, made once under `data_dir` (about half a minute).

    Raises DataError if the package cannot be had.
    """

    def build(target: Path) -> None:
        with unpacked(clipart.PACKAGE, data_dir, target) as package:
            kept, _ = thin_out(list(clipart.read_pictures(package.folder)), **clipart.CAPS)
        np.save(target / "thumbnails.npy", thumbnails([on_white(picture.pixels, SIZE) for picture in kept]))

    return np.load(prepare_once(data_dir / "offline_sets" / "mixed" / "1", build) / "thumbnails.npy")


def mix_views(data_dir: Path) -> UInt8[np.ndarray, "n 192"]:
    """Thumbnails of the mix's own images, which crops of photographs are compared with; builds the mix if need be.

    Raises DataError if what it is made of cannot be had.
    """
    return thumbnails(load_offline_mix(data_dir)["train"].images)
