"""scikit-learn's digits (Alpaydin and Kaynak, 1998): 1,797 handwritten digits of 8x8 pixels, which it brings along."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from can.offline_data.offline_sets.build import Collected, Item

_TRAIN = 898  # the first half; the writers are not known, so a writer may be on both sides


def collect(data_dir: Path, scratch: Path) -> Collected:
    """See `can.offline_data.offline_sets.build`; enlarged fourfold to 32 pixels, each pixel to a block."""
    import sklearn  # here: a start that does not need it would wait two seconds for it
    from sklearn.datasets import load_digits

    del data_dir, scratch  # the images come with scikit-learn
    images, labels = load_digits(return_X_y=True)
    pixels = np.round(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    large = np.repeat(pixels.repeat(4, 1).repeat(4, 2)[..., None], 3, axis=3)
    return Collected(
        items=[
            Item(str(label), str(index), image, test=index >= _TRAIN)
            for index, (image, label) in enumerate(zip(large, labels, strict=True))
        ],
        origins=[f"scikit-learn {sklearn.__version__}"],
        license="not stated by scikit-learn; a copy of the test set of UCI's Optical Recognition of Handwritten Digits",
        rule=f"the first {_TRAIN} images train, the others test",
        drop_near_copies=False,
    )
