"""Measurements: benchmarks over time (asv), peers side by side, the instruction guard, the dashboard."""
