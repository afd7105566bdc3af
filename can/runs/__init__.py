"""What a run is, its name, its folder, its log, its provenance, and what of it is done."""

from can.runs.evaluation import EvalRecord, Evaluated, correct_of, pack_correct, unpack_correct
from can.runs.folder import RunDir
from can.runs.name import run_name

__all__ = ["EvalRecord", "Evaluated", "RunDir", "correct_of", "pack_correct", "run_name", "unpack_correct"]
