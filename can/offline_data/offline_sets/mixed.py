"""Which clip art the pre-training mix holds, so that no evaluation is made on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from can.data.prepared import prepare_once
from can.offline_data.cutouts import on_white
from can.offline_data.debian import unpacked
from can.offline_data.near_copies import thumbnails
from can.offline_data.offline_mix import clipart
from can.offline_data.offline_mix.duplicates import Picture, thin_out
from can.offline_data.offline_sets.build import SIZE


def split_by_mix(pictures: Sequence[Picture]) -> tuple[list[Picture], list[Picture]]:
    """The clip art in the mix, and the rest without copies of it (by the files' content hash)."""
    kept, _ = thin_out(pictures, **clipart.CAPS)
    hashes = {picture.sha256 for picture in kept}
    return kept, [picture for picture in pictures if picture.sha256 not in hashes]


def mix_thumbnails(data_dir: Path) -> UInt8[np.ndarray, "n 192"]:
    """Thumbnails of the clip art in the mix, made once under `data_dir` (about half a minute).

    Raises DataError if the package cannot be had.
    """

    def build(target: Path) -> None:
        with unpacked(clipart.PACKAGE, data_dir, target) as package:
            kept, _ = split_by_mix(list(clipart.read_pictures(package.folder)))
        np.save(target / "thumbnails.npy", thumbnails([on_white(picture.pixels, SIZE) for picture in kept]))

    return np.load(prepare_once(data_dir / "offline_sets" / "mixed" / "1", build) / "thumbnails.npy")
