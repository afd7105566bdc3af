"""TFDS data sets: read from and written to array_record files without TensorFlow."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.core.read_only_builder import builder_from_files

from can.data.contents import content_hashes, hashes_kept, state_of
from can.data.image_set import EncodedImages, sha256_of
from can.errors import DataError, first_line

_NOT_PUBLISHED = -1  # a label
Examples = Iterator[tuple[int | str, dict[str, Any]]]
Splits = Mapping[str, Callable[[], Any]]  # each gives Examples, or the transform of a Beam pipeline that does


class TfdsRecords:
    """One split of a prepared TFDS set; images stay encoded."""

    def __init__(self, source: Any, what: str, labelled: bool) -> None:
        self._source = source  # a sequence of examples; a damaged one cannot even be looked at
        self._what = what
        self._labelled = labelled

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> tuple[bytes, int | None]:
        """See `Records`."""
        try:
            example = self._source[index]
            image, label = example["image"], int(example["label"]) if self._labelled else None
        except Exception as error:  # array_record and TFDS's parsers raise whatever they happen upon
            reason = first_line(error)
            raise DataError(f"{self.describe(index)} cannot be read ({reason}): prepare the data set again") from error
        if not isinstance(image, bytes):
            raise DataError(f"{self.describe(index)} has no encoded image, but {type(image).__name__}")
        return image, label

    def label(self, index: int) -> int | None:
        """See `Records`; it lies beside the image, in the record."""
        return self[index][1]

    def describe(self, index: int) -> str:
        """See `Records`."""
        return f"record {index} of {self._what}"


def read_tfds(name: str, data_dir: Path) -> dict[str, EncodedImages]:
    """The splits of the TFDS set `name` (also `name/config`, `name:version`) prepared under `data_dir`.

    Raises:
      DataError: it is not prepared as array_record (says the command that does it), or has no images.
    """
    with _quiet():
        builder = _find_builder(name, data_dir)
        splits = {split: _open_split(builder, name, split, data_dir) for split in builder.info.splits}
    if not splits:
        raise _prepare_again(name, data_dir, "it has no splits")
    return splits


def read_label_lists(name: str, split: str, feature: str, data_dir: Path) -> list[tuple[int, ...]]:
    """`read_feature` of a feature that is a sequence of labels."""
    return [tuple(map(int, labels)) for labels in read_feature(name, split, feature, data_dir)]


def read_feature(name: str, split: str, feature: str, data_dir: Path) -> list[Any]:
    """The feature `feature` of every example of a split, in the order of `read_tfds`.

    Raises:
      DataError: the set is not prepared, or has no such feature.
    """
    with _quiet():
        builder = _find_builder(name, data_dir)
        if feature not in builder.info.features:
            raise DataError(
                f"TFDS set {name!r} has no feature {feature!r} (it has: {', '.join(builder.info.features)})"
            )
        source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
        return [example[feature] for example in source]


def _open_split(builder: tfds.core.DatasetBuilder, name: str, split: str, data_dir: Path) -> EncodedImages:
    features = builder.info.features
    if "image" not in features:
        raise DataError(f"TFDS set {name!r} has no feature 'image' (it has: {', '.join(features)})")
    label = dict(features).get("label")
    classes = tuple(label.names) if isinstance(label, tfds.features.ClassLabel) else ()
    try:
        source = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    except NotImplementedError as error:  # TFDS's default format, which has no random access
        raise DataError(
            f"TFDS set {name!r} is stored as {builder.info.file_format.value}, not array_record: convert it with "
            f"python -m tensorflow_datasets.scripts.convert_format --dataset_dir={builder.data_path} "
            "--out_file_format=array_record"
        ) from error
    except Exception as error:  # files of records that are missing or cut
        raise _prepare_again(name, builder.data_path, str(error)) from error
    records = TfdsRecords(source, f"{builder.data_path} {split}", labelled=bool(classes))
    fingerprint = _fingerprint(builder, split, classes, data_dir)
    if classes and _hides_labels(records):
        classes = ()
    return EncodedImages(
        name=name,
        split=split,
        num_classes=len(classes) or None,
        class_names=classes,
        fingerprint=fingerprint,
        records=records,
        hashes=hashes_kept(data_dir, fingerprint) if _is_local(builder, split) else None,
    )


def _hides_labels(records: TfdsRecords) -> bool:
    """Whether the labels of a split are not published: TFDS gives all its images -1 then."""
    with contextlib.suppress(DataError):  # that is said when it is read
        return len(records) > 0 and records.label(0) == _NOT_PUBLISHED
    return False


def _fingerprint(builder: tfds.core.DatasetBuilder, split: str, classes: Sequence[str], data_dir: Path) -> str:
    """Of what the files of records hold, and the names of the classes, which lie in a file of their own.

    TFDS keeps no checksums: of files in a bucket, the shards' lengths and bytes stand for their content.
    """
    info = builder.info.splits[split]
    paths = [os.fspath(path) for path in info.filepaths]
    if not _is_local(builder, split):
        return sha256_of(builder.info.full_name, split, info.shard_lengths, info.num_bytes, *classes)
    files = [(path, state_of(os.stat(path))) for path in paths]
    hashes = content_hashes(files, f"{builder.data_path} {split}", data_dir)
    return sha256_of(builder.info.full_name, split, info.shard_lengths, *(digest.hex() for digest in hashes), *classes)


def _is_local(builder: tfds.core.DatasetBuilder, split: str) -> bool:
    """Whether the files of records lie here, and not in a bucket."""
    return all(os.path.exists(os.fspath(path)) for path in builder.info.splits[split].filepaths)


def _find_builder(name: str, data_dir: Path) -> tfds.core.DatasetBuilder:
    try:
        # Reads what the files say of themselves; TFDS's code for the set may need TensorFlow only to be imported.
        return builder_from_files(name, data_dir=str(data_dir))
    except tfds.core.DatasetNotFoundError as error:
        command = (
            f"python -c \"import tensorflow_datasets as tfds; tfds.builder('{name}', data_dir='{data_dir}', "
            f"file_format='array_record').download_and_prepare()\""
        )
        raise DataError(
            f"TFDS set {name!r} is not prepared under {data_dir}: pass the --data_dir that has it, "
            f"or prepare it once (this step may need `pip install tensorflow`): {command}"
        ) from error
    except Exception as error:  # whatever its readers of JSON and protocol buffers happen upon
        raise _prepare_again(name, data_dir, str(error)) from error


def _prepare_again(name: str, place: object, reason: str) -> DataError:
    first = (reason.strip().splitlines() or ["its files cannot be read"])[0][:200]
    return DataError(
        f"TFDS set {name!r} in {place} is damaged ({first}): restore it, or delete that folder and prepare it again"
    )


class _Writer(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A TFDS builder whose name, features and examples are handed to it."""

    name = "written"
    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        name: str,
        version: str,
        data_dir: str,
        features: tfds.features.FeaturesDict,
        splits: Splits,
    ) -> None:
        self.name = name
        self.VERSION = tfds.core.Version(version)
        self._features = features
        self._splits = splits
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        supervised = ("image", "label") if "label" in self._features else None
        return tfds.core.DatasetInfo(builder=self, features=self._features, supervised_keys=supervised)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager
        return {split: examples() for split, examples in self._splits.items()}

    def _generate_examples(self) -> Examples:
        raise NotImplementedError  # the split generators are the examples themselves


def write_tfds(
    name: str,
    version: str,
    target: Path,
    features: tfds.features.FeaturesDict,
    splits: Splits,
    beam_options: Any = None,
) -> None:
    """Fills the folder `target` with array_record files that `tfds.builder(name)` reads where it looks for `version`.

    Args:
      name: TFDS's name of the set; its own builder of that name reads these files if `features` are the same.
      version: "3.0.1".
      target: will be, or become, `data_dir/name/version` of TFDS's root folder.
      features: as in TFDS; give images as encoded bytes (a file object), since arrays would need TensorFlow to encode.
      splits: for each split a function that yields (key, example); TFDS orders the examples by a hash of their keys.
      beam_options: Beam's PipelineOptions, if splits are its transforms.
    """
    logging.info("writing %s/%s as array_record under %s", name, version, target)
    with tempfile.TemporaryDirectory(dir=target) as root:  # TFDS insists on folders of its own
        for file in Path(prepare_tfds(name, version, root, features, splits, beam_options)).iterdir():
            file.rename(target / file.name)


def prepare_tfds(
    name: str,
    version: str,
    data_dir: str,
    features: tfds.features.FeaturesDict,
    splits: Splits,
    beam_options: Any = None,
) -> str:
    """`write_tfds` into `data_dir/name/version`, which may be in a bucket and appears when it is whole; returns it."""
    tfds.disable_progress_bar()
    writer = _Writer(name, version, data_dir, features, splits)
    with _quiet(), contextlib.redirect_stdout(io.StringIO()):  # TFDS prints what the log lines say
        writer.download_and_prepare(download_config=tfds.download.DownloadConfig(beam_options=beam_options))
    return str(writer.data_dir)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS's own log lines, several for each call, out of ours."""
    before = logging.get_verbosity()
    logging.set_verbosity(min(before, logging.WARNING))
    try:
        yield
    finally:
        logging.set_verbosity(before)
