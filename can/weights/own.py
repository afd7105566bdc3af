"""An encoder from a folder: one that `can.weights.export` left, or public weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flax import nnx

from can.errors import ConfigError, first_line
from can.evals.encoder import Encoder
from can.models import encoder_of, model_from
from can.system.files import read_json
from can.weights.export import OWN
from can.weights.files import file_of, read_weights
from can.weights.load import encoder_from, filled


def load_encoder(path: Path | str, *, batch_size: int = 256) -> Encoder:
    """The frozen encoder in a folder or file: `load_encoder(path)(images)` are pooled features.

    Args:
      path: a folder that `experiments/export.py` made, in any form; or any public weights that
        `can.weights.load.encoder_from` takes, with the files beside them.
      batch_size: images a forward pass.

    Raises:
      ConfigError: there are no weights, or they are of no plain ViT.
    """
    path = Path(path).expanduser()
    beside = file_of(path).with_name("config.json")
    about = read_json(beside) if beside.is_file() else {}
    if not (isinstance(about, dict) and OWN in about):
        return Encoder.from_model(encoder_from(*read_weights(path)), batch_size=batch_size)
    try:
        config = model_from(about[OWN]["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{beside} was written by another version of the code: {first_line(error)}") from error
    from safetensors.numpy import load_file

    try:
        arrays = load_file(file_of(path))
    except Exception as error:  # the reader raises whatever it happens upon
        raise ConfigError(f"{file_of(path)} cannot be read ({first_line(error)}): export it again") from error

    def value(names: tuple[str, ...]) -> np.ndarray:
        if (name := ".".join(names)) not in arrays:
            raise ConfigError(f"{file_of(path)} lacks {name}: export it again")
        return arrays[name]

    return Encoder.from_model(filled(lambda: encoder_of(config, rngs=nnx.Rngs(0)), value), batch_size=batch_size)
