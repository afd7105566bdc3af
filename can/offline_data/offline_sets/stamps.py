"""tuxpaint-stamps-default by its top folders: photographs and drawings of things, cut out."""

from __future__ import annotations

import re
from pathlib import Path

from can.offline_data.debian import DebianPackage, unpacked
from can.offline_data.offline_sets.build import Collected, Item
from can.offline_data.offline_sets.cutout_files import read_on_white
from can.offline_data.offline_sets.mixed import mix_thumbnails

PACKAGE = DebianPackage(
    name="tuxpaint-stamps-default",
    pool="pool/main/t/tuxpaint-stamps/tuxpaint-stamps-default_2022.06.04-1_all.deb",
    sha256="6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    contents="usr/share/tuxpaint/stamps",
)


def collect(data_dir: Path, scratch: Path) -> Collected:
    """See `can.offline_data.offline_sets.build`."""
    seen = mix_thumbnails(data_dir)
    items = []
    with unpacked(PACKAGE, data_dir, scratch) as package:
        for path in sorted(path for path in package.folder.rglob("*.png") if not path.is_symlink()):
            image = read_on_white(path.read_bytes(), str(path))
            if image is not None:
                name = path.relative_to(package.folder)
                word = re.match(r"[a-z]*", name.stem.lower())
                items.append(Item(name.parts[0], f"{name.parent} {word.group() if word else ''}", image))
        return Collected(
            items,
            [package.origin],
            "GPL-2+",
            "class: top folder; identity: folder and first word of the name",
            seen=seen,
        )
