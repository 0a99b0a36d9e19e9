"""Files of machine code: what is not exactly what was written there is compiled anew, and never run."""

import pickle
import shutil
from pathlib import Path

import pytest
from numba.core import config, types

from fastbp.kernels.machine import cache, disk, jit
from tests.kernels.machine.programs import TANH_1, compiles, finish, start

pytestmark = compiles


def half(x):
    return x / 2


@pytest.fixture
def folder(fresh_choice, tmp_path):
    """A cache that holds `half` for a float."""
    fresh_choice.setenv("FASTBP_CACHE_DIR", str(tmp_path))
    assert jit.entry(half)(3.0) == 1.5
    return cache.cache_dir()


def hits_and_misses(argument=3.0):
    """Call `half` as a new process would, and return how often it was found and compiled."""
    entry = jit.entry(half)
    assert entry(argument) == argument / 2
    return sum(entry.stats.cache_hits.values()), sum(entry.stats.cache_misses.values())


def test_what_is_written_is_found(folder):
    assert len(list(folder.iterdir())) == 1
    assert hits_and_misses() == (1, 0)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 1.0])
def test_a_flipped_bit_is_compiled_anew_and_replaced(folder, share):
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[round(share * (len(whole) - 1))] ^= 1
    path.write_bytes(damaged)
    assert hits_and_misses() == (0, 1)
    assert hits_and_misses() == (1, 0), "the damaged file was not replaced"


def test_a_page_of_zeros_is_compiled_anew(folder):
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    assert hits_and_misses() == (0, 1)


class Planted:
    """A pickle that does something when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("head", [b"", bytes(32)])
def test_nothing_of_a_file_with_another_hash_is_loaded(folder, head, tmp_path):
    """Unpickling runs what the file says: so the hash comes first."""
    (path,) = folder.iterdir()
    sign = tmp_path / "sign"
    path.write_bytes((head or path.read_bytes()[:32]) + pickle.dumps(Planted(sign)))
    assert hits_and_misses() == (0, 1)
    assert not sign.exists()


def test_a_file_in_the_place_of_another_is_not_loaded(folder):
    """The hash is that of the content in its place: types, function, and all that the folder's name stands for."""
    (path,) = folder.iterdir()
    assert hits_and_misses(3) == (0, 1)
    (other,) = set(folder.iterdir()) - {path}
    shutil.copy(path, other)
    assert hits_and_misses(3) == (0, 1)
    assert disk.read(other) is not None
    elsewhere = folder.with_name("0" * 20)
    elsewhere.mkdir()
    shutil.copy(path, elsewhere / path.name)
    assert disk.read(elsewhere / path.name) is None


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "folder" / "file.nbc"
    disk.write(path, b"content")
    assert bytes(disk.read(path)) == b"content"
    for error in (OSError, KeyboardInterrupt):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(disk.os, "replace", fail)
        with pytest.raises(error):
            disk.write(path, b"other content")
        assert [each.name for each in path.parent.iterdir()] == ["file.nbc"]
    assert bytes(disk.read(path)) == b"content"


def test_a_folder_that_was_removed_is_made_again(folder):
    shutil.rmtree(folder)
    assert hits_and_misses() == (0, 1)
    assert hits_and_misses() == (1, 0)
    assert folder.stat().st_mode & 0o077 == 0


def test_a_setting_changed_later_keeps_and_finds_nothing(folder, monkeypatch):
    """What is compiled from then on does not belong into the folder of this process."""
    (path,) = folder.iterdir()
    monkeypatch.setattr(config, "BOUNDSCHECK", 1 - bool(config.BOUNDSCHECK))
    assert hits_and_misses() == (0, 1)
    assert list(folder.iterdir()) == [path]


def test_functions_are_told_apart_by_constants_and_variables_around_them(folder):
    """Numba's own key for a function has its bytecode, in which a constant is a number of a place."""

    def times(factor):
        return jit.entry(lambda x: factor * x)

    assert times(2.0)(3.0) == 6.0
    assert times(4.0)(3.0) == 12.0
    assert jit.entry(lambda x: x + 1.0)(3.0) == 4.0
    assert jit.entry(lambda x: x + 2.0)(3.0) == 5.0


def test_around_what_cannot_be_told_nothing_is_kept(folder):
    unknown = types.float32  # a callable that Numba knows and stamps.py does not

    def narrow(x):
        return unknown(x)

    for _ in range(2):
        entry = jit.entry(narrow)
        assert entry(0.1) != 0.1
        assert sum(entry.stats.cache_misses.values()) == 1
    assert not any(path.name.startswith("test_disk.narrow") for path in folder.iterdir())


def test_kept_entries_are_read_again(folder):
    name = "test_disk.half for float64"
    assert jit.kept()[name]
    for path in folder.iterdir():
        path.unlink()
    assert not jit.kept()[name]


def test_recompiling_forgets_what_was_kept(folder):
    entry = jit.entry(half)
    assert entry(3.0) == 1.5
    entry.recompile()
    assert sum(entry.stats.cache_misses.values()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_flipped_byte_in_the_kernels_is_compiled_anew(share, tmp_path):
    """In a file as large as they are, in a process of its own: the right number, and the file is replaced."""
    _, _, _, folder, _ = finish(start(FASTBP_CACHE_DIR=tmp_path))
    (path,) = Path(folder).iterdir()
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 0xFF
    path.write_bytes(data)
    for expected in ((0, 1), (1, 0)):
        value, hits, misses, _, _ = finish(start(FASTBP_CACHE_DIR=tmp_path))
        assert value == pytest.approx(TANH_1)
        assert (hits, misses) == expected
