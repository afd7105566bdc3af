"""Small labelled colour sets for few-shot evaluation, out of packages of Debian, npm and PyPI."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from can.data.image_set import ArrayImages
from can.recipes.offline_sets import climate, drawings, emoji, icons, letters, scenery, sprites
from can.recipes.offline_sets.build import load_offline_set

_COLLECTORS = {
    "climate": climate.collect,
    "drawings": drawings.collect,
    "emoji": emoji.collect,
    "icons": icons.collect,
    "landscapes": scenery.collect_landscapes,
    "letters": letters.collect,
    "photographs": scenery.collect_photographs,
    "sprites": sprites.collect,
}

OFFLINE_SETS: dict[str, Callable[[Path], dict[str, ArrayImages]]] = {
    name: partial(load_offline_set, name, collect=collect) for name, collect in _COLLECTORS.items()
}
