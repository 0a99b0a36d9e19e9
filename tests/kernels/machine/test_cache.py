"""Compiled code on disk: found again, never stale, and no reason to fail."""

import compileall
import os
import shutil
import warnings
from pathlib import Path

import pytest

from fastbp.kernels.machine import cache, jit
from fastbp.kernels.machine.announcing import CompilationForbidden
from tests.kernels.machine.programs import (
    PROGRAM,
    TANH_1,
    compiles,
    copy_of_the_package,
    finish,
    start,
    with_another_tanh,
)
from tests.kernels.oracles import INTERPRETED


@compiles
def test_the_next_process_finds_what_this_one_compiled(tmp_path):
    value, hits, misses, folder, _ = finish(start(FASTBP_CACHE_DIR=tmp_path))
    assert value == pytest.approx(TANH_1)
    assert (hits, misses) == (0, 1)
    assert Path(folder).parent == tmp_path
    kept = sorted(path.name for path in Path(folder).iterdir())
    value, hits, misses, again, _ = finish(start(FASTBP_CACHE_DIR=tmp_path))
    assert value == pytest.approx(TANH_1)
    assert (hits, misses) == (1, 0)
    assert again == folder
    assert sorted(path.name for path in Path(folder).iterdir()) == kept


@compiles
def test_what_is_found_is_loaded_without_what_compiles(tmp_path):
    """Numba's registries import a good part of it, and of SciPy: more than half of a warm start."""
    finish(start(FASTBP_CACHE_DIR=tmp_path))
    program = PROGRAM + "import sys\nassert 'numba.np.linalg' not in sys.modules\n"
    assert finish(start(program=program, FASTBP_CACHE_DIR=tmp_path))[1:3] == (1, 0)


@compiles
@pytest.mark.slow
def test_an_edit_in_a_callee_is_seen(tmp_path):
    """Numba watches the file of the cached function alone; here the whole folder names the cache."""
    tree = tmp_path / "tree"
    package = copy_of_the_package(tree)
    program = PROGRAM + f"assert fastbp.__file__.startswith({str(tree)!r}), fastbp.__file__\n"
    first = finish(start(tree, program, FASTBP_CACHE_DIR=tmp_path / "cache"))
    assert first[0] == pytest.approx(TANH_1)
    with_another_tanh(package)
    second = finish(start(tree, program, FASTBP_CACHE_DIR=tmp_path / "cache"))
    assert second[0] == 0.25
    assert second[1:3] == (0, 1)
    assert second[3] != first[3]
    with (tree / "fastbp" / "sequential.py").open("a") as file:
        file.write("\n# an edit above the kernels\n")
    third = finish(start(tree, program, FASTBP_CACHE_DIR=tmp_path / "cache"))
    assert third[:4] == (0.25, 1, 0, second[3])


USER = """
from numba import njit
from fastbp import kernels


@njit(cache=True)
def answer(state, x, out):
    kernels.predict_one(state, x, out)
    return out[0]
"""
CALL_OF_THE_USERS = """
import numpy as np
import fastbp
import users
net = fastbp.Sequential([fastbp.Dense(1, "tanh", use_bias=False)], 1, dtype="float64")
net.weights[0][...] = 1.0
value = users.answer(net.compiled(), np.ones(1), np.empty(1))
assert value == net.predict(np.ones((1, 1)))[0, 0]
stats = users.answer.stats
print(value, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), fastbp.__file__)
"""


@compiles
@pytest.mark.slow
def test_a_users_own_cache_forgets_other_kernels(tmp_path):
    """The user's function is unchanged, so Numba finds it; but the type of the state is another one."""
    tree = tmp_path / "tree"
    package = copy_of_the_package(tree)
    (tree / "users.py").write_text(USER)
    folders = {"FASTBP_CACHE_DIR": tmp_path / "cache", "NUMBA_CACHE_DIR": tmp_path / "users"}
    first = finish(start(tree, CALL_OF_THE_USERS, **folders))
    assert first[0] == pytest.approx(TANH_1)
    assert first[1:3] == (0, 1)
    assert first[3].startswith(str(tree))
    assert finish(start(tree, CALL_OF_THE_USERS, **folders))[:3] == (first[0], 1, 0)
    with_another_tanh(package)
    assert finish(start(tree, CALL_OF_THE_USERS, **folders))[:3] == (0.25, 0, 1)
    assert finish(start(tree, CALL_OF_THE_USERS, **folders))[:3] == (0.25, 1, 0)


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("left", [0, 100])
def test_a_file_cut_short_is_compiled_again(left, tmp_path):
    _, _, _, folder, _ = finish(start(FASTBP_CACHE_DIR=tmp_path))
    for path in Path(folder).iterdir():
        path.write_bytes(path.read_bytes()[:left])
    value, hits, misses, _, _ = finish(start(FASTBP_CACHE_DIR=tmp_path))
    assert value == pytest.approx(TANH_1)
    assert (hits, misses) == (0, 1)
    value, hits, misses, _, _ = finish(start(FASTBP_CACHE_DIR=tmp_path))
    assert value == pytest.approx(TANH_1)
    assert (hits, misses) == (1, 0), "the broken file was not replaced"


@compiles
@pytest.mark.slow
def test_four_processes_with_a_cold_cache(tmp_path):
    processes = [start(FASTBP_CACHE_DIR=tmp_path) for _ in range(4)]
    for process in processes:
        assert finish(process)[0] == pytest.approx(TANH_1)
    assert finish(start(FASTBP_CACHE_DIR=tmp_path))[1:3] == (1, 0)


@compiles
def test_no_folder_can_be_written(tmp_path):
    """One warning, and everything works."""
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    value, hits, _, folder, err = finish(start(FASTBP_CACHE_DIR=blocked / "cache"))
    assert value == pytest.approx(TANH_1)
    assert hits == 0
    assert folder == "None"
    assert err.count("RuntimeWarning") == 1
    assert "set FASTBP_CACHE_DIR to a writable folder" in err


def test_where_the_cache_lies(fresh_choice, tmp_path):
    fresh_choice.setenv("HOME", str(tmp_path / "home"))
    fresh_choice.setattr(cache.sys, "platform", "linux")
    assert cache.cache_dir().parent == tmp_path / "home" / ".cache" / "fastbp"
    cache.cache_dir.cache_clear()
    fresh_choice.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_dir().parent == tmp_path / "xdg" / "fastbp"
    cache.cache_dir.cache_clear()
    fresh_choice.setenv("FASTBP_CACHE_DIR", str(tmp_path / "chosen"))
    assert cache.cache_dir().parent == tmp_path / "chosen"
    if os.name == "posix":
        assert cache.cache_dir().stat().st_mode & 0o077 == 0, "others may write code that is run"


def test_where_the_cache_lies_elsewhere(fresh_choice, tmp_path):
    fresh_choice.setenv("HOME", str(tmp_path / "home"))
    fresh_choice.setattr(cache.sys, "platform", "darwin")
    assert cache.cache_dir().parent == tmp_path / "home" / "Library" / "Caches" / "fastbp"
    cache.cache_dir.cache_clear()
    fresh_choice.setattr(cache.sys, "platform", "win32")
    fresh_choice.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache.cache_dir().parent == tmp_path / "local" / "fastbp" / "cache"


def test_without_a_home_the_temporary_folder_serves(fresh_choice, tmp_path):
    (tmp_path / "file").write_text("")
    fresh_choice.setenv("HOME", str(tmp_path / "file" / "home"))
    fresh_choice.setattr(cache.sys, "platform", "linux")
    fresh_choice.setattr(cache.tempfile, "tempdir", str(tmp_path))
    assert cache.cache_dir().parent.parent == tmp_path
    assert cache.cache_dir().parent.name.startswith("fastbp-")


def test_a_warning_points_at_who_asked(fresh_choice):
    """Kernels of which nobody can tell the version are not kept; that is said of the caller's line, and once."""
    fresh_choice.setattr(cache, "fingerprint", lambda: None)
    fresh_choice.setattr(cache, "_given_up", "")
    with pytest.warns(RuntimeWarning, match="neither source nor code") as caught:
        assert cache.cache_dir() is None
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.cache_dir.cache_clear()
        assert cache.cache_dir() is None


@pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_refused(fresh_choice, tmp_path):
    """Machine code is loaded from there."""
    os.chown(tmp_path, 12345, 12345)
    fresh_choice.setenv("FASTBP_CACHE_DIR", str(tmp_path))
    with pytest.warns(RuntimeWarning, match="found no folder to keep its compiled kernels"):
        assert cache.cache_dir() is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.cache_dir() is None  # and said once
        assert not cache.cache_is_warm()


@compiles
def test_a_full_disk_costs_a_compilation(fresh_choice, tmp_path):
    """What cannot be kept is said and used."""
    fresh_choice.setenv("FASTBP_CACHE_DIR", str(tmp_path))

    def full(*_):
        raise OSError(28, "No space left on device")

    fresh_choice.setattr("fastbp.kernels.machine.disk.write", full)

    def double(x):
        return x + x

    entry = jit.entry(double)
    with pytest.warns(RuntimeWarning, match="could not keep a compiled kernel: .*No space left"):
        assert entry(2.0) == 4.0
    assert entry(3.0) == 6.0


@compiles
def test_entries_know_whether_they_are_warm(fresh_choice, tmp_path):
    fresh_choice.setenv("FASTBP_CACHE_DIR", str(tmp_path))
    assert not cache.cache_is_warm()
    assert not cache.cache_is_warm("test_cache.triple")

    def triple(x):
        return 3 * x

    assert jit.entry(triple)(2.0) == 6.0
    assert cache.cache_is_warm("test_cache.triple")


HIDING = """
import importlib
module, _, names = {hidden!r}.partition(":")
*owners, name = names.split(".")
owner = importlib.import_module(module)
for step in owners:
    owner = getattr(owner, step)
delattr(owner, name)
"""


@compiles
@pytest.mark.parametrize(
    "hidden",
    [
        "numba.core.compiler:CompileResult._rebuild",
        pytest.param("numba.core.compiler:CompileResult._reduce", marks=pytest.mark.slow),
        pytest.param("numba.core.codegen:JITCodeLibrary", marks=pytest.mark.slow),
        pytest.param("numba.core.typed_passes:NativeLowering", marks=pytest.mark.slow),
    ],
)
def test_without_a_private_class_of_numba_nothing_is_kept(hidden, tmp_path):
    """One warning, the same numbers, and no file, not even in Numba's own cache: that one would serve stale numbers."""
    program = HIDING.format(hidden=hidden) + PROGRAM
    folders = {"FASTBP_CACHE_DIR": tmp_path / "ours", "NUMBA_CACHE_DIR": tmp_path / "numba"}
    value, hits, _, folder, err = finish(start(program=program, **folders))
    assert value == pytest.approx(TANH_1)
    assert hits == 0
    assert folder == "None"
    assert err.count("RuntimeWarning") == 1
    assert "compile its kernels anew in every process" in err
    assert hidden.rpartition(".")[2].rpartition(":")[2] in err
    command = HIDING.format(hidden=hidden) + "import sys, fastbp.cli; sys.exit(fastbp.cli.main(['warmup']))"
    process = start(program=command, **folders)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "lacks what kernels are kept with" in err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_the_interpreter_mode_keeps_nothing():
    """Entries are the plain functions there."""

    def double(x):
        return x + x

    if INTERPRETED:
        assert jit.entry(double) is double
        assert jit.kernel(double) is double
        assert jit.kernel(inline=True)(double) is double
    else:
        assert jit.kernel(inline=True)(double) is not double


def test_cleaning_removes_what_others_left_and_nothing_else(fresh_choice, tmp_path):
    fresh_choice.setenv("FASTBP_CACHE_DIR", str(tmp_path))
    ours = cache.cache_dir()
    old, shared, named = tmp_path / ("0" * 20), tmp_path / ("1" * 20), tmp_path / "not-ours"
    for folder, names in (
        (ours, ["network.run-1.nbc"]),
        (old, ["network.run-1.nbc", "network.run-py311.nbi", "network.run-1.nbc.tmp.0123"]),
        (shared, ["network.run-1.nbc", "notes.txt"]),
        (named, ["network.run-1.nbc"]),
    ):
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / name).write_bytes(b"12345")
    (tmp_path / ("2" * 20)).symlink_to(named)
    assert cache.folders() == {old: 15, shared: 10, ours: 5}
    assert cache.clean() == {old: 15}
    assert not old.exists()
    assert [path.name for path in shared.iterdir()] == ["notes.txt"]
    assert [path.name for path in ours.iterdir()] == ["network.run-1.nbc"]
    assert [path.name for path in named.iterdir()] == ["network.run-1.nbc"]


def test_nothing_is_kept_for_kernels_that_cannot_be_told(fresh_choice, tmp_path):
    """A loader that gives neither source nor code."""
    fresh_choice.setenv("FASTBP_CACHE_DIR", str(tmp_path))
    fresh_choice.setattr(cache, "fingerprint", lambda: None)
    fresh_choice.setattr(cache, "_given_up", "")
    with pytest.warns(
        RuntimeWarning, match="anew in every process. It cannot tell which version of the kernels"
    ):
        assert cache.cache_dir() is None
    assert "cannot tell which version" in cache.obstacle()
    assert cache.folders() == cache.clean() == {}
    assert not list(tmp_path.iterdir())


@compiles
@pytest.mark.slow
@pytest.mark.parametrize("form", ["pyc", "zip", "zip of pyc"])
def test_an_application_without_source_sees_another_release(form, tmp_path):
    """Two releases from byte code alone, or from an archive, with one cache: each has its own numbers."""
    trees = []
    for number in range(2):
        tree = tmp_path / f"release{number}"
        package = copy_of_the_package(tree)
        if number:
            with_another_tanh(package)
        if "pyc" in form:
            assert compileall.compile_dir(package, quiet=1, legacy=True)
            for path in package.rglob("*.py"):
                path.unlink()
        if "zip" in form:
            tree = Path(shutil.make_archive(tree, "zip", tree))
        trees.append(tree)
    for tree, value in zip(trees, (TANH_1, 0.25), strict=True):
        program = PROGRAM + f"assert fastbp.__file__.startswith({str(tree)!r}), fastbp.__file__\n"
        for compiled in (1, 0):
            found = finish(start(tree, program, FASTBP_CACHE_DIR=tmp_path / "cache"))
            assert found[0] == pytest.approx(value)
            assert found[1:3] == (1 - compiled, compiled)


@compiles
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setarch") is None, reason="no setarch here")
def test_another_release_of_the_systems_kernel_compiles_nothing(tmp_path):
    """An image is warmed on one host and used on another."""
    program = PROGRAM + "import platform, sys; print(platform.release(), file=sys.stderr)\n"
    first = finish(start(program=program, FASTBP_CACHE_DIR=tmp_path))
    other = finish(start(program=program, before=["setarch", "--uname-2.6"], FASTBP_CACHE_DIR=tmp_path))
    assert first[1:3] == (0, 1)
    assert other[1:3] == (1, 0)
    assert other[3] == first[3]
    assert other[4].split()[-1].startswith("2.6.") and not first[4].split()[-1].startswith("2.6.")


@compiles
def test_compilation_may_be_forbidden(fresh_choice, tmp_path):
    """What is kept is loaded; what is not raises instead of keeping the user waiting."""
    fresh_choice.setenv("FASTBP_CACHE_DIR", str(tmp_path))

    def double(x):
        return x + x

    assert jit.entry(double)(2.0) == 4.0
    fresh_choice.setenv("FASTBP_COMPILE", "never")
    again = jit.entry(double)
    assert again(3.0) == 6.0
    with pytest.raises(CompilationForbidden, match="double for float64 would have to be compiled"):
        again(1j)
    fresh_choice.setenv("FASTBP_COMPILE", "sometimes")
    with pytest.raises(ValueError, match="FASTBP_COMPILE must be never, or not set, got 'sometimes'"):
        again(1j)
