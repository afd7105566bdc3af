"""Pre-trains one run: `can pretrain --method=can --model=vit_b --data=jft --epochs=800`.

`--print_config` shows every resolved value. Started again, it goes on where it stopped. The run's folder in results/
gets config.json, train.csv and provenance.json; checkpoints and TensorBoard's event files go to checkpoints/. After a
step whose numbers were not finite, `--replay` makes the steps from the last checkpoint to that one again.
"""

from __future__ import annotations

from absl import flags as absl_flags

from can.commands import flags, run_one


def define_flags() -> None:
    """Defines the command's flags."""
    flags.define_run_flags()
    absl_flags.DEFINE_bool("replay", False, "make the steps up to one that was not finite again, and print them")


def main() -> None:
    """Runs what the flags describe."""
    setting = flags.setting()
    run = flags.run_of_flags(setting)
    if flags.print_config():
        print(flags.describe(setting, run))
        return
    if absl_flags.FLAGS.replay:
        for step, metrics in run_one.replay(setting, run):
            print(f"step {step}: " + ", ".join(f"{name} {value:.6g}" for name, value in metrics.items()))
        return
    run_one.pretrain(setting, run)
