"""Several data sets as one unlabelled set: `offline_mix+cifar10`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from can.data.image_set import ArrayImages, ImageSet, sha256_of
from can.errors import DataError


def join(name: str, split: str, parts: Sequence[ImageSet]) -> ArrayImages:
    """The images of all `parts`, one set after the other, without labels (their classes have nothing in common).

    Raises DataError unless the parts are small sets of one image size.
    """
    arrays = [part for part in parts if isinstance(part, ArrayImages)]
    sizes = {part.images.shape[1:] for part in arrays}
    if len(arrays) < len(parts) or len(sizes) > 1:
        forms = ", ".join(
            f"{part.name} {'x'.join(map(str, part.images.shape[1:3]))}" if isinstance(part, ArrayImages) else part.name
            for part in parts
        )
        raise DataError(f"{name} joins sets of different image sizes ({forms}): join small sets of one size only")
    return ArrayImages(
        name=name,
        split=split,
        num_classes=None,
        class_names=(),
        fingerprint=sha256_of(*(part.fingerprint for part in arrays)),
        images=np.concatenate([part.images for part in arrays]),
        labels=None,
    )
