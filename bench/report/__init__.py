"""The asv benchmarks and the peers as they are shown: tables, pictures, README, documentation, dashboard."""
