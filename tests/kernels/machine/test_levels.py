"""Which level of compiled kernels a processor is given: one of which it has every feature."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import config

from fastbp.kernels.machine import levels, target

X86 = levels._X86
on_x86 = pytest.mark.skipif(levels.levels() != X86, reason="levels of x86-64")


@pytest.fixture
def processor(monkeypatch):
    """Forge the features of the processor, and the width of vectors that follows from them."""
    monkeypatch.delenv("FASTBP_VECTOR_BYTES", raising=False)
    for name, value in (("CPU_NAME", None), ("CPU_FEATURES", None), ("ENABLE_AVX", 1)):
        monkeypatch.setattr(config, name, value)

    def forge(features):
        names = {name for level in X86 for name in level.features} | {"avx512vnni"}
        found = target.host_features().__class__((name, name in features) for name in names)
        monkeypatch.setattr(target, "host_features", lambda: found)
        monkeypatch.setattr(levels, "VECTOR_BYTES", target.vector_bytes())

    monkeypatch.setattr(levels, "levels", lambda: X86)
    return forge


@pytest.mark.parametrize("level", X86, ids=lambda level: level.name)
def test_a_level_is_taken_with_exactly_its_features(level, processor):
    processor(level.features)
    assert levels.choose() == (level, level.name)


@pytest.mark.parametrize(
    ("level", "missing"), [(level, name) for level in X86 for name in level.features], ids=lambda v: str(v)
)
def test_a_level_is_not_taken_without_one_of_its_features(level, missing, processor):
    """The width of vectors follows from avx and avx512f alone: a processor with AVX and without FMA is no x86-64-v3."""
    processor(set(level.features) - {missing})
    found, reason = levels.choose()
    assert found != level
    assert found is not None or missing in reason or missing in ("avx", "avx512f")
    if found is not None:
        assert missing not in found.features


def test_levels_contain_each_other():
    for lower, higher in zip(X86, X86[1:], strict=False):
        assert set(lower.features) < set(higher.features)
        assert lower.vector_bytes < higher.vector_bytes
    assert len({name for level in X86 for name in level.features}) == len(X86[-1].features)


def test_another_processor_by_wish_has_no_level(monkeypatch, processor):
    processor(X86[-1].features)
    for name in ("CPU_NAME", "CPU_FEATURES"):
        monkeypatch.setattr(config, name, "haswell")
        assert levels.choose() == (None, "NUMBA_CPU_NAME or NUMBA_CPU_FEATURES asks for another processor")
        monkeypatch.setattr(config, name, None)


def test_an_unknown_architecture_has_no_level(monkeypatch):
    monkeypatch.setattr(levels.llvm, "get_process_triple", lambda: "riscv64-unknown-linux-gnu")
    assert levels.levels() == ()
    assert levels.choose()[0] is None


def test_narrower_vectors_by_wish_have_their_level(monkeypatch, processor):
    """FASTBP_VECTOR_BYTES is the switch to a lower level."""
    processor(X86[-1].features)
    for level in X86:
        monkeypatch.setattr(levels, "VECTOR_BYTES", level.vector_bytes)
        assert levels.choose()[0] == level


@on_x86
def test_llvm_names_every_feature():
    assert set(X86[-1].features) <= set(target.host_features())


@on_x86
def test_llvm_knows_the_levels_by_name():
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.Target.from_triple(llvm.get_process_triple())
    for level in X86:
        # A feature that the name brings need not be asked for: the same code with and without.
        plain, listed = (
            triple.create_target_machine(cpu=level.name, features=features).emit_assembly(
                llvm.parse_assembly(SUM)
            )
            for features in ("", ",".join(f"+{name}" for name in level.features))
        )
        assert plain == listed


SUM = """
define <16 x float> @f(<16 x float> %a, <16 x float> %b) {
  %c = fmul contract <16 x float> %a, %b
  %d = fadd contract <16 x float> %c, %a
  ret <16 x float> %d
}
"""


@on_x86
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the loader of glibc")
def test_the_loader_of_glibc_says_the_same():
    """It lists the levels that the processor has, by the same definition."""
    loader = Path("/lib64/ld-linux-x86-64.so.2")
    if not loader.exists() or "glibc" not in platform.libc_ver()[0]:
        pytest.skip("no loader of glibc here")
    told = subprocess.run([loader, "--help"], capture_output=True, text=True, check=False).stdout
    if "x86-64-v2" not in told:
        pytest.skip("this loader lists no levels")
    usable = {name for name, here in target.host_features().items() if here}
    for level in X86:
        (line,) = (line for line in told.splitlines() if line.split()[:1] == [level.name])
        assert ("(supported" in line) == (set(level.features) <= usable), line


AVX2 = "+avx,+avx2,+fma,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+cx16,+popcnt"


def said_for(program, name, features, width, **more):
    """Return what a program prints where kernels are compiled for another processor."""
    environment = {
        **os.environ,
        **more,
        "NUMBA_CPU_NAME": name,
        "NUMBA_CPU_FEATURES": features,
        "FASTBP_VECTOR_BYTES": str(width),
    }
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@on_x86
@pytest.mark.parametrize(
    ("name", "features", "width", "expected"),
    [("x86-64-v4", "", 64, True), ("x86-64-v3", "", 32, False), ("haswell", AVX2, 64, False)],
)
def test_reciprocals_are_estimated_where_there_is_an_instruction(name, features, width, expected):
    """Vectors of 64 bytes alone do not tell: LLVM cuts them in two, but not that instruction."""
    program = "from fastbp.kernels.machine.target import ESTIMATES; print(ESTIMATES)"
    assert said_for(program, name, features, width) == str(expected)


@on_x86
@pytest.mark.slow
@pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled")
def test_vectors_wider_than_the_machines_train(tmp_path):
    program = (
        "import numpy as np, fastbp as fb; x = np.ones((4, 2)); "
        "print(fb.Sequential([fb.Dense(1)], 2, 'float64').fit(x, x[:, :1], verbose=0).loss[0] > 0)"
    )
    assert said_for(program, "haswell", AVX2, 64, FASTBP_CACHE_DIR=str(tmp_path), FASTBP_QUIET="1") == "True"
