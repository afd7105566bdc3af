"""Sets joined by their names."""

import numpy as np
import pytest

from can import data
from can.data.image_set import ArrayImages
from can.data.joined import join
from can.errors import DataError


def test_a_joined_set_holds_all_images_and_no_labels(tmp_path):
    part = data.load("smoke", "train[:100]", data_dir=tmp_path)
    joined = data.load("smoke+smoke", "train[:100]", data_dir=tmp_path)
    assert isinstance(joined, ArrayImages) and joined.labels is None and joined.num_classes is None
    np.testing.assert_array_equal(joined.images, np.concatenate([part.images, part.images]))
    assert joined.fingerprint not in ("", part.fingerprint)


def test_sets_of_different_sizes_are_not_joined(tmp_path):
    part = data.load("smoke", "test", data_dir=tmp_path)
    small = ArrayImages("small", "test", None, (), "f", part.images[:, ::2, ::2], None)
    with pytest.raises(DataError, match="smoke 32x32, small 16x16"):
        join("smoke+small", "test", [part, small])
