"""The name of the cache's folder: what changes machine code changes it, and nothing else does."""

import inspect
import platform
import re
import sys

import llvmlite
import numba
import pytest
from numba.core import config

from fastbp.kernels.machine import key, target

# What Numba reads from the environment, and what of that becomes a setting in the key, or a part of the processor.
ANOTHER_NAME = {
    "NUMBA_DEBUGINFO": "DEBUGINFO_DEFAULT",
    "NUMBA_DISABLE_INTEL_SVML": "USING_SVML",
}
OF_THE_PROCESSOR = {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX"}
# The others: what is said and shown, where Numba's own cache lies, threads, and other targets.
HARMLESS = re.compile(
    r"NUMBA_(DEBUG|DEBUG_(PRINT_\w+|JIT|FRONTEND|NRT_STACK_LIMIT|CACHE|TYPEINFER|ARRAY_OPT\w*|INLINE_CLOSURE)|DUMP_\w+"
    r"|DIFF_IR|HIGHLIGHT_DUMPS|DEVELOPER_MODE|FULL_TRACEBACKS|SHOW_HELP|COLOR_SCHEME|CAPTURED_ERRORS|TRACE|CHROME_TRACE"
    r"|DISABLE_PERFORMANCE_WARNINGS|ALWAYS_WARN_UNINIT_VAR|DISABLE_ERROR_MESSAGE_HIGHLIGHTING|NRT_STATS"
    r"|FUNCTION_CACHE_SIZE|CACHE_(DIR|LOCATOR_CLASSES)|PARFOR_MAX_TUPLE_SIZE|PARALLEL_DIAGNOSTICS|NUM_THREADS"
    r"|THREADING_LAYER\w*|DISABLE_TYPEINFER_FAIL_CACHE|DISABLE_JIT|ENABLE_(PROFILING|SYS_MONITORING)|JIT_COVERAGE"
    r"|LLVM_PASS_TIMINGS|USE_LLVMLITE_MEMORY_MANAGER|USE_RVSDG_FRONTEND|GDB_BINARY"
    r"|\w*CUDA\w*|EXPERIMENTAL_REDEFINE_ERROR)"
)


def test_every_setting_of_numba_is_in_the_key_or_changes_no_code():
    """A new one in a new Numba must be decided on."""
    read = set(re.findall(r'"(NUMBA_[A-Z0-9_]+)"', inspect.getsource(config)))
    assert "NUMBA_OPT" in read
    undecided = [
        name
        for name in sorted(read - OF_THE_PROCESSOR)
        if ANOTHER_NAME.get(name, name.removeprefix("NUMBA_")) not in key.SETTINGS
        and not HARMLESS.fullmatch(name)
    ]
    assert undecided == []


@pytest.mark.parametrize("name", key.SETTINGS)
def test_each_setting_changes_the_folder(name, monkeypatch):
    before, version = key.fingerprint(), key.identity()
    monkeypatch.setattr(config, name, "another", raising=False)
    assert key.fingerprint() != before
    assert key.identity() != version


def test_false_values_of_all_kinds_are_one(monkeypatch):
    monkeypatch.setattr(config, "BOUNDSCHECK", None)
    before = key.fingerprint()
    monkeypatch.setattr(config, "BOUNDSCHECK", 0)
    assert key.fingerprint() == before


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (numba, "__version__", "0.1"),
        (llvmlite, "__version__", "0.1"),
        (config, "CPU_NAME", "another"),
        (config, "CPU_FEATURES", "+another"),
        (key.llvm, "get_process_triple", lambda: "another"),
        (key, "kernels", lambda: "another"),
        (key.sys, "abiflags", "t"),
    ],
)
def test_versions_and_processor_change_the_folder(owner, name, value, monkeypatch):
    before = key.fingerprint()
    monkeypatch.setattr(owner, name, value, raising=False)
    assert key.fingerprint() != before


def test_the_width_of_vectors_changes_the_folder():
    assert len({key.fingerprint(vector_bytes=size) for size in (16, 32, 64)}) == 3


def test_the_host_does_not_change_the_folder(monkeypatch):
    before = key.fingerprint()
    for name in ("platform", "release", "node", "version"):
        monkeypatch.setattr(platform, name, lambda *_, **__: "another")
    monkeypatch.setattr(sys, "version", sys.version.replace("main", "another"))
    monkeypatch.setattr(key.llvm, "get_process_triple", lambda: "arm64-apple-darwin22.1.0")
    mac = key.fingerprint()
    monkeypatch.setattr(key.llvm, "get_process_triple", lambda: "arm64-apple-darwin24.6.0")
    assert key.fingerprint() == mac
    monkeypatch.undo()
    assert key.fingerprint() == before


def test_a_user_without_avx_gets_narrow_vectors(monkeypatch):
    """NUMBA_ENABLE_AVX=0: what is compiled follows, and so does the folder."""
    before = key.fingerprint()
    monkeypatch.delenv("FASTBP_VECTOR_BYTES", raising=False)
    monkeypatch.setattr(config, "CPU_NAME", None)
    monkeypatch.setattr(config, "CPU_FEATURES", None)
    monkeypatch.setattr(target, "host_features", lambda: FEATURES)
    monkeypatch.setattr(config, "ENABLE_AVX", 1)
    assert target.vector_bytes() == 64
    assert "+avx512f" in target.cpu()[1]
    monkeypatch.setattr(config, "ENABLE_AVX", 0)
    assert target.vector_bytes() == 16
    assert target.cpu()[1] == "-avx,-avx2,-avx512f,+sse2"
    assert key.fingerprint() != before


FEATURES = target.host_features().__class__(avx=True, avx2=True, avx512f=True, sse2=True)
