"""`v2`: the test images as if they were taken once more, a little turned, moved and scaled."""

from __future__ import annotations

from can.data.image_set import Images
from can.recipes.shifts.movement import moved


def recaptured(images: Images, seed: int) -> Images:
    """Each image turned by up to 12 degrees, shifted by up to 7 % of its side, at 85 to 115 % of its size."""
    return moved(images, seed, max_angle=12.0, max_shift=0.07, scale=(0.85, 1.15))
