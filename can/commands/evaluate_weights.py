"""Evaluates an encoder that others trained: `can evaluate_weights --weights=FILE --name=NAME ...`.

FILE is a .safetensors file, a folder of transformers or timm, or a .pth file (with PyTorch installed): any plain ViT in
the names of He et al., timm or transformers, such as MAE, DeiT, DINO, DINOv2, MoCo-v3, and the image towers of CLIP and
SigLIP. What the weights do not tell is read from the `config.json` beside them, or said by flags. The evaluations are
those of `can evaluate`, on the scale's labelled images; the results go to results/<scale>/NAME.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

from can.commands import flags as setting_flags
from can.commands import run_one
from can.commands.evaluations import EVALS
from can.commands.foreign_run import run_of_weights
from can.errors import ConfigError
from can.models.public_vit import POOLS
from can.models.transformer import ACTIVATIONS

GIVEN = {  # fields of can.weights.described.Described, and the flags that go before what the weights' files say
    "heads": "attention_heads",
    "eps": "eps",
    "activation": "activation",
    "pool": "pool",
    "pixel_mean": "mean",
    "pixel_std": "std",
}


def define_flags() -> None:
    """Defines the command's flags."""
    setting_flags.define_setting_flags()
    flags.DEFINE_string("weights", None, "file of the weights, or folder of transformers", required=True)
    flags.DEFINE_string("name", None, "of the results' folder", required=True)
    flags.DEFINE_integer("seed", 0, "of the evaluations")
    flags.DEFINE_integer("attention_heads", None, "of the encoder; default: what is beside the weights, or usual")
    flags.DEFINE_float("eps", None, "of the layer norms; default: what is beside the weights, or 1e-6")
    flags.DEFINE_enum("activation", None, list(ACTIVATIONS), "of the MLPs; default: as --pool, or gelu")
    flags.DEFINE_enum("pool", None, list(POOLS), "what features are; default: what is beside the weights, or mean")
    flags.DEFINE_list("mean", None, "of pixels in [0, 1] by channel, .5,.5,.5; default: as --pool, or ImageNet's")
    flags.DEFINE_list("std", None, "of pixels, likewise")
    flags.DEFINE_list("eval", ["linear_probe"], f"evaluations to make: {', '.join(EVALS)}")


def main() -> None:
    """Runs what the flags describe."""
    values = flags.FLAGS
    run = run_of_weights(
        setting_flags.setting(),
        Path(values.weights).expanduser(),
        values.name,
        values.seed,
        {field: _numbers(values[flag].value) for field, flag in GIVEN.items()},
    )
    run_one.evaluate(setting_flags.setting(), run, values.eval)
    for name in values.eval:
        for record in run.folder.read_eval(name).records:
            print(f"{run.folder.name} {name} {record['metric']} {record['value']:.4f} (n = {record['n']})")


def _numbers(value: Any) -> Any:
    """A list of texts as numbers; anything else as it is."""
    if not isinstance(value, list):
        return value
    try:
        return tuple(map(float, value))
    except ValueError:
        raise ConfigError(f"--mean and --std take numbers, such as .5,.5,.5, not {','.join(value)}") from None
