"""The drawings for children of pysiogame by what they show: animals, jobs, food, ..."""

from __future__ import annotations

from pathlib import Path

from can.recipes.debian import DebianPackage, unpacked
from can.recipes.offline_sets.build import Collected, Item
from can.recipes.offline_sets.cutout_files import read_on_white
from can.recipes.offline_sets.mixed import mix_thumbnails

PACKAGE = DebianPackage(
    name="pysiogame",
    pool="pool/main/p/pysiogame/pysiogame_4.20.01-1_all.deb",
    sha256="6b22766dfd8ef3a046c2665fe2598ac8a1ecee3d331bda38accf53de65bc59bf",
    contents="usr/share/games/pysiogame/res/images/art4apps",
)


def collect(data_dir: Path, scratch: Path) -> Collected:
    """See `can.recipes.offline_sets.build`."""
    seen = mix_thumbnails(data_dir)
    with unpacked(PACKAGE, data_dir, scratch) as package:
        items = []
        for path in sorted(package.folder.glob("*/*.jpg")):
            image = read_on_white(path.read_bytes(), str(path))
            if image is not None:
                items.append(Item(path.parent.name, path.stem, image))
        return Collected(
            items,
            [package.origin],
            "CC BY-SA (Art4Apps by Smart4Kids, as the package says)",
            "class: folder; identity: the drawing's name, in all folders",
            seen=seen,
        )
