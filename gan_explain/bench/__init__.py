"""Benchmarks: functions that measure, called by the scripts in benchmarks/."""
