"""The asv suite: every benchmark is found, sets up and runs once on its first parameters."""

import importlib
import itertools
import json
import os
import subprocess
import sys

import pytest

from bench import fair
from bench.fair import ROOT
from bench.peers.workloads import WORKLOADS
from bench.suite import kernels, machine, predicting, searching, startup, threads, training, workloads
from fastbp.layers import ACTIVATION_NAMES
from fastbp.objectives import OBJECTIVE_NAMES
from fastbp.optimizers import RULE_NAMES

MODULES = (kernels, predicting, searching, threads, training)


def benchmarks():
    """Yield every class that asv would find, with its methods and its first parameters."""
    for module in MODULES:
        for name, cls in vars(module).items():
            methods = [m for m in dir(cls) if m.split("_")[0] in ("time", "timeraw", "peakmem", "track")]
            if isinstance(cls, type) and cls.__module__ == module.__name__ and methods:
                params = next(itertools.product(*getattr(cls, "params", [])))
                yield pytest.param(cls, methods, params, id=f"{module.__name__.rpartition('.')[2]}.{name}")


@pytest.mark.parametrize(("cls", "methods", "params"), list(benchmarks()))
def test_runs_once(cls, methods, params):
    benchmark = cls()
    getattr(benchmark, "setup", lambda *_: None)(*params)
    for name in methods:
        value = getattr(benchmark, name)(*params)
        if name.startswith("track"):
            assert 0 < value < 10


def test_start_up_runs_in_processes_of_its_own(monkeypatch, tmp_path):
    """The script of the first step is whole, and so is what asv runs for the import."""
    monkeypatch.setenv("FASTBP_CACHE_DIR", str(tmp_path))
    started = []
    monkeypatch.setattr(subprocess, "run", lambda command, env, check: started.append((command, env)))
    assert startup.FirstStep().track_cold_seconds("float32") >= 0
    assert startup.FirstStep().track_warm_seconds("float32") >= 0
    assert len(started) == 5
    assert started[0][1]["FASTBP_CACHE_DIR"] != str(tmp_path)
    assert started[1][1]["FASTBP_CACHE_DIR"] == str(tmp_path)
    assert startup.Precompiled().track_first_step_seconds(str(tmp_path), "float32") >= 0
    assert started[-1][1]["FASTBP_COMPILE"] == "never"
    assert started[-1][1]["PYTHONPATH"] == str(tmp_path)
    for code in (started[0][0][-1], startup.Import().timeraw_import(), startup.Import().timeraw_engine()):
        exec(compile(code, "benchmark", "exec"), {})


@pytest.mark.parametrize("cls", [cls for m in MODULES for cls in vars(m).values() if hasattr(cls, "params")])
def test_parameters_are_named(cls):
    assert len(cls.params) == len(cls.param_names)
    assert all(cls.params)


def test_new_registry_entries_are_timed_by_themselves():
    assert kernels.Activation.params[0] == list(ACTIVATION_NAMES)
    assert kernels.Loss.params[0] == list(OBJECTIVE_NAMES)
    assert kernels.Optimizer.params[0] == list(RULE_NAMES)


def test_suite_and_peers_share_their_workloads():
    assert workloads.WORKLOADS.keys() == WORKLOADS.keys()
    assert workloads.__file__ == str(ROOT / "bench" / "peers" / "workloads.py")


def test_the_kernels_of_a_suite_process_are_in_its_results():
    named = [fair.describe(kernel) for kernel in machine.Blas.kernels.values()]
    assert machine.Blas.params == [named or ["none"]]


def blas_of(monkeypatch, architecture):
    """The benchmark in a process with these kernels, on a processor with AVX-512."""
    kernel = {
        "owner": "numpy",
        "library": "openblas",
        "version": "0.3",
        "architecture": architecture,
        "threads": 3,
    }
    monkeypatch.setattr(machine.Blas, "process", {"variables": {}, "kernels": [kernel]})
    monkeypatch.setattr(machine.Blas, "kernels", {"it": kernel})
    monkeypatch.setattr(machine.fair, "level", lambda: "avx512")
    return machine.Blas()


def test_a_slowed_blas_fails_in_asv(monkeypatch):
    assert blas_of(monkeypatch, "SkylakeX").track_threads("it") == 3
    with pytest.raises(RuntimeError, match="avx2 kernels on a processor with avx512"):
        blas_of(monkeypatch, "Haswell").track_threads("it")


def test_processes_of_asv_start_clean(monkeypatch):
    """As asv does it: from the folder of its configuration, by the name that stands there."""
    (plugin,) = json.loads((ROOT / "bench" / "asv.conf.json").read_text())["plugins"]
    monkeypatch.syspath_prepend(ROOT / "bench")
    for name in (*fair.HANDICAPS, *fair.THREADS):
        monkeypatch.setenv(name, "7")
    try:
        importlib.import_module(plugin.removeprefix(".")).setup()
    finally:
        for name in (plugin.removeprefix("."), "fair"):
            sys.modules.pop(name, None)
    assert not set(fair.HANDICAPS) & set(os.environ)
    assert {os.environ[name] for name in fair.THREADS} == {"1"}


def test_configuration_names_what_is_there():
    configuration = json.loads((ROOT / "bench" / "asv.conf.json").read_text())
    assert (ROOT / "bench" / configuration["benchmark_dir"] / "__init__.py").is_file()
    assert configuration["branches"] == ["main"]
    assert all(len(pins) == 1 for pins in configuration["matrix"]["req"].values())


# The history of each benchmark


BENCHMARKS = json.loads((ROOT / "bench" / "results" / "asv" / "benchmarks.json").read_text())
STORED = {name: told["version"] for name, told in BENCHMARKS.items() if name != "version"}
LEDGER = json.loads((ROOT / "bench" / "suite" / "versions.json").read_text())


def test_versions_are_those_that_asv_finds(tmp_path):
    """As asv does it: the folder alone, under its own name, in a process that has no other way to this checkout."""
    script = pytest.importorskip("asv.runner").BENCHMARK_RUN_SCRIPT
    found = tmp_path / "found.json"
    command = [sys.executable, script, "discover", str(ROOT / "bench" / "suite"), str(found)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    versions = {benchmark["name"]: benchmark["version"] for benchmark in json.loads(found.read_text())}
    assert versions == LEDGER["versions"]


def test_every_stored_line_goes_on_or_ends_for_a_reason():
    goes_on = {name for name, version in STORED.items() if LEDGER["versions"].get(name) == version}
    ended = [name for names in LEDGER["ended"].values() for name in names]
    assert goes_on.isdisjoint(ended)
    assert goes_on | set(ended) == STORED.keys()
    assert all(LEDGER["ended"])
