"""Features of any images, as a file: `can features --from=ENCODER --images=SET --out=FILE`.

ENCODER is a folder of `can export` or public weights of a plain ViT (`docs/evaluations.md`); without it, the run that
flags of `can pretrain` name. SET is what `--labelled` takes: a data set's name, a TFDS name, or the place of images
(`docs/data.md`), with or without labels. FILE ends in .npz (`features`, `label`, `file`) or .parquet (a row an image).
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from can import data, load_encoder, trained
from can.commands import flags as setting_flags
from can.commands.own_config import run_to_read
from can.evals.encoder import Encoder
from can.evals.feature_files import check_path, write_features


def define_flags() -> None:
    """Defines the command's flags."""
    setting_flags.define_run_flags()
    flags.DEFINE_string("from", None, "folder of can export, or public weights; default: the run that the flags name")
    flags.DEFINE_string("images", None, "a data set, named as for --labelled", required=True)
    flags.DEFINE_string("split", "train", "of the images")
    flags.DEFINE_string("out", None, "the file: NAME.npz or NAME.parquet", required=True)
    flags.DEFINE_integer("images_at_once", 256, "images a forward pass", lower_bound=1)


def main() -> None:
    """Runs what the flags describe."""
    values = flags.FLAGS
    out = Path(values.out).expanduser()
    check_path(out)
    setting = setting_flags.setting()
    images = data.load(values.images, values.split, data_dir=setting.data_dir)
    if values["from"].value:
        encoder = load_encoder(values["from"].value, batch_size=values.images_at_once)
    else:
        run = run_to_read(setting)
        encoder = Encoder.from_model(trained.load_encoder(run.config, run.folder), batch_size=values.images_at_once)
    count = write_features(encoder, images, out)
    print(f"{out}: {count} images, {encoder.num_features} features each")
