"""Data sets that are built out of packages: the mix, small labelled sets, shifted test sets; a recipe a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from can.data.image_set import ImageSet
from can.recipes.cifar10 import load_cifar10
from can.recipes.fashion_mnist import load_fashion_mnist
from can.recipes.offline_mix import load_offline_mix
from can.recipes.offline_sets import OFFLINE_SETS

SETS: dict[str, Callable[[Path], Mapping[str, ImageSet]]] = {
    "cifar10": load_cifar10,
    "fashion_mnist": load_fashion_mnist,
    "offline_mix": load_offline_mix,
    **OFFLINE_SETS,
}
