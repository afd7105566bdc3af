"""What a run is, its name, its folder, its log, its provenance, and what of it is done."""

from can.files import write_atomic, write_json
from can.runs.folder import EvalRecord, RunDir
from can.runs.name import run_name

__all__ = ["EvalRecord", "RunDir", "run_name", "write_atomic", "write_json"]
