"""Small labelled sets for few-shot evaluation, out of packages of Debian, npm and PyPI."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from can.data.image_set import ArrayImages
from can.offline_data.offline_sets import clip_art, digits, emoji, fonts, icons, sprites, stamps
from can.offline_data.offline_sets.build import load_offline_set

_COLLECTORS = {
    "clipart": clip_art.collect,
    "digits": digits.collect,
    "emoji": emoji.collect,
    "glyphs": fonts.collect_glyphs,
    "icons": icons.collect,
    "scripts": fonts.collect_scripts,
    "sprites": sprites.collect,
    "stamps": stamps.collect,
}

OFFLINE_SETS: dict[str, Callable[[Path], dict[str, ArrayImages]]] = {
    name: partial(load_offline_set, name, collect=collect) for name, collect in _COLLECTORS.items()
}
