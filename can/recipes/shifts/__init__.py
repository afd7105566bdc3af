"""Shifted test sets of the small scales, built by code: `cifar10_sketch`, `cifar10_pose`, ...

Stand-ins for the paper's shifted ImageNets, one rule a file; none is the published set that it stands for. Each is made
once, from the test images of a base set and a fixed seed, and kept under `data_dir/shifts`. The labels stay.
"""

from can.data.smoke import load_smoke
from can.recipes.cifar10 import load_cifar10
from can.recipes.shifts.build import shifted_sets

__all__ = ["SETS", "shifted_sets"]

SETS = {
    name: load
    for base, load_base in (("cifar10", load_cifar10), ("smoke", load_smoke))
    for name, load in shifted_sets(base, load_base).items()
}
