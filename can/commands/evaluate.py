"""Evaluates one pre-trained run: `can evaluate --eval=linear_probe --method=can --epochs=800 ...`.

Takes the flags of `can pretrain`, which name the run; `--name` alone names one with its own configuration. `--step=500`
judges a checkpoint that is kept, also while the run is trained. A finished evaluation is not repeated without
`--force=NAME`.
"""

from __future__ import annotations

from absl import flags

from can.commands import flags as setting_flags
from can.commands import run_one
from can.commands.evaluations import EVALS
from can.commands.own_config import run_to_read
from can.runs.provenance import peak_memory_mb


def define_flags() -> None:
    """Defines the command's flags."""
    setting_flags.define_run_flags()
    flags.DEFINE_list("eval", ["linear_probe"], f"evaluations to make: {', '.join(EVALS)}")
    flags.DEFINE_integer("step", None, "whose checkpoint is judged; default: the last one", lower_bound=0)


def main() -> None:
    """Runs what the flags describe."""
    setting = setting_flags.setting()
    run = run_to_read(setting)
    if setting_flags.print_config():
        print(setting_flags.describe(setting, run))
        return
    if (step := flags.FLAGS.step) is not None:
        run = run_one.evaluate_at(setting, run, step, flags.FLAGS.eval)
    else:
        run_one.evaluate(setting, run, flags.FLAGS.eval)
    of = run.folder.name if step is None else f"{run.folder.name} step {step}"
    for name in flags.FLAGS.eval:
        for record in run.folder.read_eval(name).records:
            print(f"{of} {name} {record['metric']} {record['value']:.4f} (n = {record['n']})")
    print(f"peak memory {peak_memory_mb() / 1000:.1f} GB")
