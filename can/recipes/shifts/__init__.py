"""Shifted test sets of the small scales, built by code: `cifar10_sketch`, `cifar10_pose`, ...

Stand-ins for the paper's shifted ImageNets, one rule a file; none is the published set that it stands for. Each is made
once, from the test images of a base set and a fixed seed, and kept under `data_dir/shifts`. The labels stay.
"""

from can.recipes.shifts.build import shifted_sets

__all__ = ["shifted_sets"]
