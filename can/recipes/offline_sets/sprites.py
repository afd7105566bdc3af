"""crossfire-client-images: the tiles of a role-playing game by kind (monster, wall, weapon, ...)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from can.recipes.debian import DebianPackage, unpacked
from can.recipes.offline_sets.build import Collected, Item
from can.recipes.offline_sets.cutout_files import read_on_white
from can.recipes.offline_sets.mixed import mix_thumbnails

PACKAGE = DebianPackage(
    name="crossfire-client-images",
    pool="pool/main/c/crossfire-client-images/crossfire-client-images_1.70.0-2_all.deb",
    sha256="f75fe31f0b3c3ca733d7663874b14ab18927df629dcfb77906184ba0864ea57f",
    contents="usr/share/games/crossfire-client",
)
_NO_KIND = {"connect", "misc", "system"}


def read_images(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of each image of a file that is a row of `IMAGE size name`, a line end, and the PNG."""
    start = 0
    while start < len(content):
        end = content.index(b"\n", start)
        _, size, name = content[start:end].decode("latin1").split(" ")
        start = end + 1 + int(size)
        yield name, content[end + 1 : start]


def collect(data_dir: Path, scratch: Path) -> Collected:
    """See `can.recipes.offline_sets.build`; of an animation's frames, the first."""
    seen = mix_thumbnails(data_dir)
    items: dict[str, Item] = {}
    with unpacked(PACKAGE, data_dir, scratch) as package:
        for path in (package.folder / "crossfire.base", package.folder / "crossfire.clsc"):
            for name, data in read_images(path.read_bytes()):
                face = name.rpartition(".")[0]
                kind = name.split("/")[2]
                image = None if face in items or kind in _NO_KIND else read_on_white(data, f"{path} {name}")
                if image is not None:
                    folder, _, last = face.rpartition("/")
                    word = re.match(r"[A-Za-z]*", last)
                    items[face] = Item(kind, f"{folder} {word.group() if word else ''}", image)
        return Collected(
            list(items.values()),
            [package.origin],
            "GPL (the package names no version)",
            "class: kind; identity: folder and first word of the name; one frame of an animation",
            seen=seen,
        )
