"""A trained encoder in the form that others read: `can export --to=timm --out=DIR --method=can ...`.

`--to` is timm, transformers or safetensors (our form, for `can.load_encoder`). Flags of `can pretrain` name the run.
DIR gets the weights, `config.json` and a model card; the largest difference to our features is measured on the spot,
through the library itself if it is installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import flags

from can import load_encoder, trained
from can.commands import flags as setting_flags
from can.commands.model_card import model_card
from can.commands.own_config import run_to_read
from can.errors import ConfigError
from can.evals.encoder import Encoder
from can.system.files import write_atomic
from can.weights.export import FORMS, export
from can.weights.others import features_of


def define_flags() -> None:
    """Defines the command's flags."""
    setting_flags.define_run_flags()
    flags.DEFINE_enum("to", "safetensors", list(FORMS), "who reads it")
    flags.DEFINE_string("out", None, "the folder, which is made", required=True)


def main() -> None:
    """Runs what the flags describe."""
    values = flags.FLAGS
    out = Path(values.out).expanduser()
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty: pass another --out")
    setting = setting_flags.setting()
    run = run_to_read(setting)
    model = trained.load_encoder(run.config, run.folder)
    export(model, values.to, out)
    encoder = Encoder.from_model(model)
    images = np.random.default_rng(0).integers(0, 256, (8, model.image_size, model.image_size, 3), np.uint8)
    theirs, by = features_of(out, values.to, images)
    again = np.asarray(load_encoder(str(out)).features(images)) if theirs is None else theirs
    difference = float(np.abs(np.asarray(encoder.features(images)) - again).max())
    write_atomic(out / "README.md", model_card(run, values.to, difference, by))
    print(f"{out}: largest difference to our features {difference:.1e}, read by {by}")
