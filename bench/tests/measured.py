"""Results files of a few cases, written out for tests."""

from bench.report import tables

MACHINE = {
    "cpu": {"model": "Some CPU", "family": "1/2", "flags": ["avx2"]},
    "cores": 2,
    "memory_gib": 24.0,
    "system": "Linux",
    "versions": {"numpy": "2.4"},
    "commit": "abc",
    "date": "2026-01-01",
    "bandwidth": {"L2": 8e10, "L3": 5e10, "DRAM": 2e10},
}


def entry(rate):
    """A measured peer."""
    return {"status": "ok", "note": "", "rate": rate, "low": 0.9 * rate, "high": 1.1 * rate, "rates": [rate]}


def case(key, **rates):
    """A case by its key (suite/name/threads/dtype), with what each peer reached."""
    suite, name, threads, dtype = key.split("/")
    unit = tables.SUITES[suite].unit
    told = {
        "suite": suite,
        "name": name,
        "threads": int(threads),
        "dtype": dtype,
        "quick": False,
        "unit": unit,
    }
    return told | {"peers": {peer.replace("_", "-"): entry(rate) for peer, rate in rates.items()}}


def results(ours=2e6, best=1e6):
    """One training case and one latency case."""
    cases = {
        "a": case("training/tabular-small/1/float32", fastbp=ours, jax_scan=best, sklearn=1e5, fma_peak=1e11),
        "b": case("latency/one-row/1/float32", fastbp=4e5, fastbp_njit=2e6),
    }
    return {"format": tables.FORMAT, "machine": MACHINE, "cases": cases}
