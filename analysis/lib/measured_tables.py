"""Every table of measurements, by its name."""

from __future__ import annotations

from analysis.lib import fault_tables, resource_tables, scaling_tables, speed_tables, web_tables

TABLES = speed_tables.TABLES | resource_tables.TABLES | scaling_tables.TABLES | fault_tables.TABLES | web_tables.TABLES
