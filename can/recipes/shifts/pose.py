"""`pose`: things in positions that photographs of them seldom have, as in ObjectNet (Barbu et al., 2019)."""

from __future__ import annotations

from can.data.image_set import Images
from can.recipes.shifts.movement import moved


def posed(images: Images, seed: int) -> Images:
    """Each image turned by up to 45 degrees, shifted by up to a fifth of its side, at 60 to 100 % of its size."""
    return moved(images, seed, max_angle=45.0, max_shift=0.2, scale=(0.6, 1.0))
