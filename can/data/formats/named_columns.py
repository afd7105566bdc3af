"""Which column of a table holds the images and which the labels, and what the labels' numbers are called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from can.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

_ASKED = re.compile(r"(?:image|label)=[^&#]*(?:&(?:image|label)=[^&#]*)*")
_IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo")
_LABEL_NAMES = ("label", "labels", "class", "cls", "target", "class_id", "class_name", "category")


class Asked(NamedTuple):
    """The columns that a name asks for: None leaves the choice to what is there; an empty label means no labels."""

    image: str | None = None
    label: str | None = None


class Columns(NamedTuple):
    """What is read of a table; `label` is None without labels, `names` empty where the classes have none."""

    image: str
    label: str | None
    names: tuple[str, ...]


def split_asked(rest: str) -> tuple[str, Asked]:
    """`PATH#image=COLUMN&label=COLUMN` as its path and what it asks for. Raises ConfigError for a part given twice."""
    path, mark, fragment = rest.rpartition("#")
    if not mark or not _ASKED.fullmatch(fragment):
        return rest, Asked()
    pairs = [part.split("=", 1) for part in fragment.split("&")]
    if len(dict(pairs)) < len(pairs):
        raise ConfigError(f"#{fragment} names a column twice: write #image=COLUMN&label=COLUMN")
    return path, Asked(**dict(pairs))


def columns_of(schema: pa.Schema, asked: Asked, where: str) -> Columns:
    """The columns of a table that `asked`, else its features, types and names say.

    The features that `datasets` writes into a schema tell images and classes from other columns. Without them, encoded
    images are bytes, or `{bytes, path}`, and labels are numbers or texts in a column that is called so.

    Raises DataError, with the columns that are there, if none has images or a choice is needed.
    """
    features = _features(schema)
    images = [name for name in schema.names if features.get(name, {}).get("_type") == "Image"]
    images = images or [field.name for field in schema if _may_hold_bytes(field.type)]
    image = _chosen("image", asked.image, images, _IMAGE_NAMES, schema, where)
    if image is None:
        raise DataError(
            f"{where} has no column of encoded images (it has: {', '.join(schema.names)}): write it with datasets' "
            "Image, or the bytes of JPEG or PNG files"
        )
    if asked.label == "":
        return Columns(image, None, ())
    classes = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    plain = [field.name for field in schema if field.name in _LABEL_NAMES and _may_be_label(field.type)]
    if asked.label is not None and asked.label in schema.names and not _may_be_label(schema.field(asked.label).type):
        kind = schema.field(asked.label).type
        raise DataError(f"{where}: column {asked.label!r} is of {kind}: labels are numbers or texts")
    label = _chosen("label", asked.label, classes or plain, _LABEL_NAMES, schema, where)
    names = tuple(features[label].get("names", ())) if label is not None and label in classes else ()
    return Columns(image, label, names)


def _chosen(
    what: str, asked: str | None, found: Sequence[str], usual: Iterable[str], schema: pa.Schema, where: str
) -> str | None:
    if asked is not None:
        if asked not in schema.names:
            raise DataError(f"{where} has no column {asked!r} (it has: {', '.join(schema.names)})")
        return asked
    if len(found) > 1 and not (found := [name for name in usual if name in (choices := found)]):
        listed = ", ".join(choices)
        raise DataError(f"{where} has several columns that could be the {what} ({listed}): add #{what}={choices[0]}")
    return found[0] if found else None


def _features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What `datasets` says of each column; nothing where it has not written the schema."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return {name: feature for name, feature in found.items() if isinstance(feature, dict)}


def _may_hold_bytes(kind: pa.DataType) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind)


def _may_be_label(kind: pa.DataType) -> bool:
    from pyarrow import types

    value = kind.value_type if types.is_dictionary(kind) else kind
    texts = types.is_string(value) or types.is_large_string(value) or types.is_string_view(value)
    return texts or types.is_integer(value)
