"""openclipart-png by its top folders: the pictures that the pre-training mix leaves out."""

from __future__ import annotations

from pathlib import Path

from can.offline_data.cutouts import on_white
from can.offline_data.debian import unpacked
from can.offline_data.offline_mix import clipart
from can.offline_data.offline_sets.build import SIZE, Collected, Item
from can.offline_data.offline_sets.mixed import mix_thumbnails, split_by_mix


def collect(data_dir: Path, scratch: Path) -> Collected:
    """See `can.offline_data.offline_sets.build`."""
    seen = mix_thumbnails(data_dir)
    with unpacked(clipart.PACKAGE, data_dir, scratch) as package:
        _, left = split_by_mix(list(clipart.read_pictures(package.folder)))
        return Collected(
            items=[
                Item(picture.path.split("/")[0], " ".join(picture.family), on_white(picture.pixels, SIZE))
                for picture in left
            ],
            origins=[package.origin],
            license=clipart.LICENSE,
            rule="class: top folder; identity: folder and first word of the file's name; without the mix's pictures",
            seen=seen,
        )
