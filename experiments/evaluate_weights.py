"""Evaluates an encoder that others trained: `python experiments/evaluate_weights.py --weights=FILE --name=NAME ...`.

FILE is a .safetensors file, a folder of transformers, or a .pth file (with PyTorch installed), in the names of He et
al., timm or transformers: a plain ViT with fixed sin-cos positions, such as He et al.'s mae_pretrain_vit_base. The
evaluations are those of evaluate.py, on the scale's labelled images; the results go to results/<scale>/NAME.
"""

from __future__ import annotations

import experiments.harness.environment  # noqa: F401  missing? bash experiments/setup.sh && source .venv/bin/activate

from pathlib import Path

from absl import flags

from experiments.harness import cli, run_one
from experiments.harness import flags as setting_flags
from experiments.harness.evaluations import EVALS
from experiments.harness.foreign_run import run_of_weights


def main() -> None:
    """Runs what the flags describe."""
    values = flags.FLAGS
    run = run_of_weights(
        setting_flags.setting(),
        Path(values.weights).expanduser(),
        values.name,
        values.seed,
        values.attention_heads,
        values.eps,
    )
    run_one.evaluate(setting_flags.setting(), run, values.eval)
    for name in values.eval:
        for record in run.folder.read_eval(name).records:
            print(f"{run.folder.name} {name} {record['metric']} {record['value']:.4f} (n = {record['n']})")


if __name__ == "__main__":
    setting_flags.define_setting_flags()
    flags.DEFINE_string("weights", None, "file of the weights, or folder of transformers", required=True)
    flags.DEFINE_string("name", None, "of the results' folder", required=True)
    flags.DEFINE_integer("seed", 0, "of the evaluations")
    flags.DEFINE_integer("attention_heads", None, "of the encoder; default: what is usual for its width")
    flags.DEFINE_float(
        "eps", None, "of the layer norms that the weights were trained with; default: what is beside them"
    )
    flags.DEFINE_list("eval", ["linear_probe"], f"evaluations to make: {', '.join(EVALS)}")
    cli.run(main)
