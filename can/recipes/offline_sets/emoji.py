"""Noto emoji out of the npm package emoji-datasource-google, by Unicode's category."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

from can.errors import DataError
from can.recipes.npm import NpmPackage, tarball
from can.recipes.offline_sets.build import Collected, Item
from can.recipes.offline_sets.cutout_files import read_on_white
from can.recipes.offline_sets.mixed import mix_thumbnails

PACKAGE = NpmPackage(
    "emoji-datasource-google", "16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"
)
_VARIANTS = {"man", "woman", "person", "men", "women", "people", "boy", "girl", "male", "female", "sign"}
_ONE_IDENTITY = ("family", "keycap", "time")  # subcategories whose members differ in a detail


def identity_of(name: str, subcategory: str) -> str:
    """What an emoji shows, the same for all genders: "WOMAN COOK" and "MAN COOK" -> "cook"."""
    if subcategory in _ONE_IDENTITY:
        return subcategory
    words = re.findall(r"[a-z0-9]+", name.lower())
    return " ".join(word for word in words if word not in _VARIANTS) or "person"


def collect(data_dir: Path, scratch: Path) -> Collected:
    """See `can.recipes.offline_sets.build`; the skin tones, which are variants of these, are left out."""
    del scratch
    seen = mix_thumbnails(data_dir)
    items = []
    with tarfile.open(tarball(PACKAGE, data_dir)) as archive:
        contents = {member.name: archive.extractfile(member) for member in archive if _is_wanted(member.name)}
        # A compressed archive is read forward: what is needed is read while it passes.
        files = {name: file.read() for name, file in contents.items() if file is not None}
    about: list[dict[str, Any]] = json.loads(files["package/emoji.json"])
    for emoji in about:
        data = files.get(f"package/img/google/64/{emoji['image']}")
        if not emoji["has_img_google"] or data is None:
            continue
        image = read_on_white(data, f"{PACKAGE.file_name} {emoji['image']}")
        if image is not None:
            items.append(Item(emoji["category"], identity_of(emoji["name"], emoji["subcategory"]), image))
    if not items:
        raise DataError(f"{PACKAGE.file_name} holds no emoji: delete it, and it is fetched again")
    return Collected(
        items,
        [PACKAGE.file_name],
        "MIT (package), Apache-2.0 (Noto Emoji's images)",
        "class: category; identity: name without its gender; no skin tones",
        seen=seen,
    )


def _is_wanted(name: str) -> bool:
    return name == "package/emoji.json" or name.startswith("package/img/google/64/")
