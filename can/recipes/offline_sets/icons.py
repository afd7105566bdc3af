"""Desktop icons of three themes by their context: actions, apps, devices, ..."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from can.recipes.debian import DebianPackage, unpacked
from can.recipes.offline_sets.build import Collected, Item
from can.recipes.offline_sets.cutout_files import read_on_white
from can.recipes.offline_sets.mixed import mix_thumbnails

PACKAGES = (
    DebianPackage(
        name="gnome-icon-theme",
        pool="pool/main/g/gnome-icon-theme/gnome-icon-theme_3.12.0-5_all.deb",
        sha256="243520edcff2c309065b7e12ae08f666580e6098ecafa0c0f7d28c75aedcfdc3",
        contents="usr/share/icons/gnome/48x48",
    ),
    DebianPackage(
        name="tango-icon-theme",
        pool="pool/main/t/tango-icon-theme/tango-icon-theme_0.8.90-11_all.deb",
        sha256="dff317aca52fde744b884a02dd9fc2702a0cc6aaecc22271b5abf6906cd90b94",
        contents="usr/share/icons/Tango/32x32",
    ),
    DebianPackage(
        name="oxygen-icon-theme",
        pool="pool/main/o/oxygen-icons5/oxygen-icon-theme_5.103.0-1_all.deb",
        sha256="3e49023e148906e41457a98a19a09858ddd761ef4f212fa356232924b3cebcce",
        contents="usr/share/icons/oxygen/base/48x48",
    ),
)


def collect(data_dir: Path, scratch: Path) -> Collected:
    """See `can.recipes.offline_sets.build`."""
    seen = mix_thumbnails(data_dir)
    items = []
    with ExitStack() as stack:
        packages = [stack.enter_context(unpacked(package, data_dir, scratch)) for package in PACKAGES]
        for package in packages:
            for path in sorted(path for path in package.folder.rglob("*.png") if not path.is_symlink()):
                image = read_on_white(path.read_bytes(), str(path))
                if image is not None:
                    items.append(Item(path.relative_to(package.folder).parts[0], path.stem, image))
    return Collected(
        items,
        [package.origin for package in packages],
        "GPL-2+ (GNOME), public domain (Tango), LGPL-3+ (Oxygen)",
        "class: context; identity: the icon's name, in all themes",
        seen=seen,
    )
