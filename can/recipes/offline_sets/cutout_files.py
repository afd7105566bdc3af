"""Image files with transparency as items' images."""

from __future__ import annotations

import cv2
import numpy as np

from can.errors import DataError
from can.recipes.cutouts import on_white, premultiplied, trimmed
from can.recipes.offline_sets.build import SIZE, Image


def read_on_white(data: bytes, what: str) -> Image | None:
    """The picture, trimmed, on a white square; None if there is nothing to see.

    Raises DataError, which names the picture by `what`, if it is damaged.
    """
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise DataError(f"{what} is damaged: fetch its package again")
    cutout = trimmed(premultiplied(decoded))
    return None if cutout is None else on_white(cutout, SIZE)
