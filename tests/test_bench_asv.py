"""The asv suite: every benchmark is found, sets up and runs once on its first parameters."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

# bench/ is not installed; appended, so that an installed fastbp is still what is imported
sys.path.append(str(Path(__file__).resolve().parents[1]))

from bench.benchmarks import kernels, predicting, startup, threads, training, workloads
from bench.peers.workloads import WORKLOADS
from fastbp.layers import ACTIVATION_NAMES
from fastbp.objectives import OBJECTIVE_NAMES
from fastbp.optimizers import RULE_NAMES

ROOT = Path(__file__).resolve().parents[1]
MODULES = (kernels, predicting, threads, training)


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


def test_configuration_names_what_is_there():
    configuration = json.loads((ROOT / "bench" / "asv.conf.json").read_text())
    assert (ROOT / "bench" / configuration["benchmark_dir"] / "__init__.py").is_file()
    assert configuration["branches"] == ["main"]
    assert all(len(pins) == 1 for pins in configuration["matrix"]["req"].values())
