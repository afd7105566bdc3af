"""The tables of docs/faults.md: what `tests/faults/` did to the processes of a run, and what happened."""

from __future__ import annotations

import pandas as pd

from analysis.lib.benchmarks.table import BenchmarkTable, table_rows


def faults(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a fault."""
    return table_rows(
        rows,
        lambda row: {
            "Fault": row.fault,
            "Processes": row.processes,
            "All ended, s": f"{row.ended_s:.0f}",
            "Told by": row.told_by,
            "What they say": row.line,
            "Afterwards": row.afterwards,
        },
    )


def kills(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a signal: how many processes were killed with it, and what became of the others."""

    def cells(signal: str, sent: pd.DataFrame) -> dict[str, object]:
        return {
            "Signal": signal,
            "Processes": sent["processes"].iloc[0],
            "Times": len(sent),
            "After, s": f"{sent['after_s'].min():.0f} to {sent['after_s'].max():.0f}",
            "All ended, s": f"{sent['others_ended_s'].median():.0f} (longest {sent['others_ended_s'].max():.0f})",
            "Stopped together": int((sent["exit_codes"].map(lambda codes: len(set(codes.split()))) == 1).sum()),
            "Named by another": int(sent["named"].sum()),
            "Rows made": sent.groupby(["seed", "table"]).ngroups,
            "Numbers": "all equal" if sent["equal"].all() else "different",
        }

    return pd.DataFrame([cells(str(signal), sent) for signal, sent in rows.groupby("signal")])


TABLES = {
    "faults": BenchmarkTable("Faults", "faults.csv", "python tests/faults/inject.py", faults, settings=2),
    "kills": BenchmarkTable("Kills", "kills.csv", "python tests/faults/kill_hosts.py", kills, settings=2),
}
