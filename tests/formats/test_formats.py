"""The package fastbp.formats: what it offers, atomic writes, values without pickle, the container of model files."""

import json
import math
import os
import pickle
import stat
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save as to_bytes

from fastbp import formats
from fastbp.formats import FormatError, _atomic, _container, _values, atomic_write


def test_package_is_lazy():
    code = (
        "import sys, fastbp.formats; fastbp.formats.save; fastbp.formats.to_c; fastbp.formats.to_onnx; "
        "fastbp.formats.to_torch; print([m for m in ('onnx', 'torch', 'skl2onnx', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_package_lists_its_names():
    for name in formats.__all__:
        assert callable(getattr(formats, name))
        assert name in dir(formats)
    with pytest.raises(AttributeError, match="no_such_format"):
        _ = formats.no_such_format


# atomic_write


@pytest.mark.parametrize(("mode", "content"), [("wb", b"a\r\nb"), ("w", "a\r\nä")])
def test_atomic_write_leaves_only_the_file(tmp_path, mode, content):
    path = tmp_path / "file"
    with atomic_write(path, mode) as file:
        file.write(content)
        assert not path.exists()
    assert path.read_bytes() == (content if mode == "wb" else content.encode())
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_atomic_write_keeps_the_old_file_on_error(tmp_path, error):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"new")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


KILLED = (
    "import os, signal, sys; from fastbp.formats import atomic_write\n"
    "with atomic_write(sys.argv[1]) as f:\n"
    "    f.write(b'new'); f.flush(); os.kill(os.getpid(), signal.SIGKILL)"
)


def test_atomic_write_survives_a_kill(tmp_path):
    """Killed between writing and renaming: the old file is there, whole."""
    path = tmp_path / "file"
    path.write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode != 0
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    "name", ["file", "a" * 250, "ä" * 127, "[a-z]*.?"], ids=["short", "250", "umlauts", "pattern"]
)
def test_what_a_killed_write_leaves_goes_with_the_next_one_of_that_name(tmp_path, name):
    others = {"file2", ".file2.01234567.tmp", ".file.0123456.tmp", ".file.01234567.tmp2", ".x.01234567.tmp"}
    for other in others:
        (tmp_path / other).write_text("mine")
    path = tmp_path / name
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", KILLED, str(path)]).returncode != 0
    # The second process has already removed what the first one left.
    assert len(os.listdir(tmp_path)) == len(others) + 1
    with atomic_write(path) as file:
        file.write(b"whole")
    assert set(os.listdir(tmp_path)) == {name, *others}
    assert path.read_bytes() == b"whole"


@pytest.mark.parametrize("length", [241, 242, 250, 255])
def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path, length):
    path = tmp_path / ("n" * length)
    for text in ("old", "new"):
        with atomic_write(path, "w") as file:
            file.write(text)
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(OSError, match="too long"), atomic_write(tmp_path / ("n" * 256)):
        pass


def test_a_file_that_is_being_written_is_no_stale_one(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path, "w") as outer:
        outer.write("outer")
        with atomic_write(path, "w") as inner:
            inner.write("inner")
        assert path.read_text() == "inner"
    assert path.read_text() == "outer"
    assert os.listdir(tmp_path) == ["file"]


def test_many_processes_write_one_name(tmp_path):
    """None loses its temporary file to another, and every file that is seen is whole."""
    path = tmp_path / "file"
    code = (
        "import sys; from fastbp.formats import atomic_write\n"
        "for i in range(150):\n"
        "    with atomic_write(sys.argv[1]) as f: f.write(sys.argv[2].encode() * 1000)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(path), letter]) for letter in "abcd"]
    while any(process.poll() is None for process in running):
        if path.exists():
            assert path.read_bytes() in {letter.encode() * 1000 for letter in "abcd"}
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_links_and_pipes_with_such_names_are_left_alone(tmp_path):
    path = tmp_path / "file"
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".file.01234567.tmp").symlink_to(tmp_path / "precious")
    os.mkfifo(tmp_path / ".file.89abcdef.tmp")
    with atomic_write(path) as file:
        file.write(b"")
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / ".file.01234567.tmp").is_symlink()
    assert (tmp_path / ".file.89abcdef.tmp").is_fifo()


def test_without_locks_stale_files_are_removed_and_open_ones_are_the_systems_affair(tmp_path, monkeypatch):
    monkeypatch.setattr(_atomic, "fcntl", None)
    (tmp_path / ".file.01234567.tmp").write_text("stale")
    with atomic_write(tmp_path / "file") as file:
        file.write(b"")
    assert os.listdir(tmp_path) == ["file"]


def test_atomic_write_permissions(tmp_path):
    path = tmp_path / "file"
    old = os.umask(0o027)
    try:
        with atomic_write(path) as file:
            file.write(b"")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        with atomic_write(path) as file:
            file.write(b"")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(old)


def test_atomic_write_follows_links_and_leaves_devices(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_write(tmp_path / "link", "w") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    with atomic_write(os.devnull) as file:
        file.write(b"gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="Linux lists what a process has open")
def test_atomic_write_leaves_nothing_open(tmp_path):
    before = os.listdir("/proc/self/fd")
    for content in (b"a", b"b"):
        with atomic_write(tmp_path / "file") as file:
            file.write(content)
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_atomic_write_refuses(tmp_path):
    with (
        pytest.raises(ValueError, match="mode must be 'wb' or 'w', got 'a'"),
        atomic_write(tmp_path / "a", "a"),
    ):
        pass
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "none" / "a"):
        pass


# values


def roundtrip(value):
    arrays = {}
    text = json.dumps(_values.encode(value, arrays), allow_nan=False)
    return _values.decode(json.loads(text), arrays)


def same(a, b):
    """Equal with equal types all the way down; NaN equals NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return all(map(same, a.ravel().tolist(), b.ravel().tolist()))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**200,
        -0.1,
        math.nan,
        [math.inf, -math.inf],
        "\ud800 ü\0",
        (1, (2.5, [])),
        {"a": {"b": (1,)}, "c": []},
        {1: 2.0, ("x", None): "y"},
        {"$array": "not an array"},
        np.float32(0.1),
        np.float64("nan"),
        np.bool_(True),
        np.uint8(7),
        np.str_("é"),
        [np.float64(0.1), np.float64("inf")],
        [np.float32(0.1), np.float64(0.1), 3],
        np.zeros((2, 0, 3), np.float16),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(20)[::-3],
        np.array(5.0),
        np.array([True, False]),
        np.array(["ab", "", "cdé"]),
        np.array([["a"], ["b"]], dtype="<U9"),
        np.array([], dtype="<U1"),
        np.array(["x", 3, None, (1, 2)], dtype=object),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_come_back(value):
    assert same(roundtrip(value), value)


@pytest.mark.parametrize(
    "value",
    [
        *({"$scalar": [name, 1]} for name in ("V8", "complex128", "O", "S9", "datetime64[s]", "float128", 3)),
        *({"$scalars": [name, [1]]} for name in ("V8", "complex128", "O", ["float32"])),
        {"$scalar": ["float32", 1]},
        {"$scalar": ["int8", True]},
        {"$scalar": ["int8", 300]},
        {"$scalar": ["str", 3]},
        *({"$strings": ["a"], "width": 1, "shape": shape} for shape in ([-1], [1.0], [True], 1, None, [2])),
        *({"$objects": [None], "shape": shape} for shape in ([-1], [1.0], ["1"], {}, [2])),
        *({"$strings": ["a"], "width": width, "shape": [1]} for width in (2**28, -1, 1.0, True, 0, 10**30)),
        {"$strings": [3], "width": 1, "shape": [1]},
        {"$array": "a", "more": 1},
        {"$float": "1"},
        {"$float": ["nan"]},
        {"$tuple": 1},
        {"$dict": [[1]]},
        {"$dict": [[[], 1]]},
        {"$random_state": ["PCG64", {"$array": "key"}, 0, 0, 0.0]},
        {"$random_state": ["MT19937", {"$array": "key"}, 625, 0, 0.0]},
        {"$random_state": ["MT19937", {"$array": "key"}, 0, 2, 0.0]},
        {"$random_state": ["MT19937", [1], 0, 0, 0.0]},
        {"$what": 1},
    ],
    ids=str,
)
def test_values_that_nobody_wrote(value):
    arrays = {"a": np.zeros(2), "key": np.zeros(624, np.uint32)}
    with pytest.raises((ValueError, TypeError, OverflowError)):
        _values.decode(value, arrays)


@pytest.mark.parametrize("shape", [[-1], [1.0], [True], ["1"], [1, -1]], ids=str)
def test_what_is_no_shape_is_named(shape):
    """It is not left to NumPy, which takes some of them."""
    for value in ({"$strings": ["a"], "width": 1, "shape": shape}, {"$objects": [None], "shape": shape}):
        with pytest.raises(ValueError, match="not a shape: "):
            _values.decode(value, {})


def test_big_endian_arrays_come_back_native():
    array = np.arange(5, dtype=">f8")
    back = roundtrip(array)
    assert np.array_equal(back, array)
    assert back.dtype == np.dtype("=f8")


def test_random_state_goes_on():
    generator = np.random.RandomState(3)
    generator.normal(size=5)  # leaves a cached gaussian
    twin = roundtrip(generator)
    assert np.array_equal(generator.normal(size=700), twin.normal(size=700))


def test_names_of_arrays_are_unique():
    arrays = {}
    value = {"a.b": np.zeros(1), "a": {"b": np.ones(1)}}
    text = _values.encode(value, arrays, "x")
    assert len(arrays) == 2
    assert same(_values.decode(text, arrays), value)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        1j,
        np.complex128(1),
        np.zeros(2, complex),
        np.zeros(2, "datetime64[s]"),
        np.array([object()]),
        {1, 2},
        b"x",
        np.random.RandomState(np.random.PCG64(0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_refused(value):
    with pytest.raises(TypeError, match="cannot save net"):
        _values.encode(value, {}, "net")


def test_strings_cannot_ask_for_gigabytes():
    text = {"$strings": ["a"], "width": 10**10, "shape": [1]}
    with pytest.raises(ValueError, match="width"):
        _values.decode(text, {})
    wide = np.zeros(2, dtype=f"<U{2**26}")
    with pytest.raises(ValueError, match="cannot save"):
        _values.encode(wide, {})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                "$array $float $tuple $dict $scalar $scalars $strings $objects $random_state width shape".split()
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
HARMLESS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


@given(JSON)
def test_decoding_anything_raises_plain_errors(value):
    try:
        _values.decode(value, {"a": np.zeros(3)})
    except HARMLESS:
        pass


# container


def test_container_round_trip(tmp_path):
    path = tmp_path / "a.safetensors"
    state = {"w": [np.eye(2, dtype=np.float32), None], "note": ("ü", 1.5)}
    _container.write(path, "example", state)
    kind, back = _container.read(path)
    assert kind == "example"
    assert same(back, state)
    back["w"][0][0, 0] = 7  # writable
    first = path.read_bytes()
    _container.write(path, "example", state)
    assert path.read_bytes() == first


def test_bytes_are_the_same_in_another_process(tmp_path):
    code = (
        "import sys, numpy as np; from fastbp.formats import _container\n"
        "_container.write(sys.argv[1], 'k', {c * 3: np.full(2, i) for i, c in enumerate('hgfedcba')})"
    )
    for name, seed in (("a", "1"), ("b", "2")):
        env = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True, env=env)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def forge(path, document, arrays=None, checksum=True):
    """Write a document as it is, with a checksum that fits: what an attacker can do."""
    arrays = arrays or {}
    if checksum and isinstance(document, dict):
        document = {"fastbp_version": "1"} | document
        document = document | {"checksum": _container._checksum(document, arrays)}
    path.write_bytes(to_bytes(arrays, {"fastbp": json.dumps(document)}))


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([1], "not an object"),
        ({}, "format version must be a positive integer, got None"),
        ({"format_version": True}, "format version must be a positive integer, got True"),
        ({"format_version": 0}, "positive integer"),
        (
            {"format_version": 2, "fastbp_version": "9.0"},
            "format 2 by fastbp 9.0; this fastbp reads formats up to 1",
        ),
        ({"format_version": 1, "kind": "k"}, "document lacks the entry 'state'"),
        ({"format_version": 1, "kind": 3, "state": {}}, "document.kind must be text, got 3"),
        ({"format_version": 1, "kind": "k", "state": []}, "document.state must be a record"),
        ({"format_version": 1, "kind": "k", "state": {}, "more": 1}, "document has the unknown entry 'more'"),
        ({"format_version": 1, "kind": "k", "state": {"w": {"$array": "w"}}}, "the array 'w' is missing"),
        ({"format_version": 1, "kind": "k", "state": {"w": {"$array": []}}}, "not valid"),
        (
            {"format_version": 1, "kind": "k", "state": {"w": {"$run": "rm"}}},
            "an object with .'\\$run'",
        ),
    ],
)
def test_forged_documents(tmp_path, document, problem):
    path = tmp_path / "forged"
    forge(path, document)
    with pytest.raises(FormatError, match=problem) as caught:
        _container.read(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "text", ["{", "NaN", '{"format_version": NaN}', '{"format_version": 1e999}', "[" * 100_000, "1" * 5000]
)
def test_metadata_that_is_no_json(tmp_path, text):
    path = tmp_path / "forged"
    path.write_bytes(to_bytes({}, {"fastbp": text}))
    with pytest.raises(FormatError):
        _container.read(path)


def test_missing_or_wrong_checksum(tmp_path):
    path = tmp_path / "forged"
    for document in ({}, {"checksum": "sha256:" + "0" * 64}, {"checksum": None}):
        forge(path, {"format_version": 1, "kind": "k", "state": {}} | document, checksum=False)
        with pytest.raises(FormatError, match="checksum does not match"):
            _container.read(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other"
    path.write_bytes(to_bytes({"w": np.eye(2)}, {"format": "pt"}))
    with pytest.raises(FormatError, match="not one of fastbp's"):
        _container.read(path)
    path.write_bytes(to_bytes({"w": np.eye(2)}))
    with pytest.raises(FormatError, match="not one of fastbp's"):
        _container.read(path)
    for content in (
        b"",
        b"\x80\x04]q\x00.",
        b"\xff" * 64,
        (2**60).to_bytes(8, "little") + b"{}",
        b"\2\0\0\0\0\0\0\0{}x",
    ):
        path.write_bytes(content)
        with pytest.raises(FormatError):
            _container.read(path)
    header = json.dumps(
        {
            "__metadata__": {"fastbp": '{"format_version":1}'},
            "w": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
        }
    ).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(FormatError, match="dtype BF16"):
        _container.read(path)
    with pytest.raises(FileNotFoundError):
        _container.read(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        _container.read(tmp_path)


@given(
    entry=st.fixed_dictionaries({}, optional={"dtype": JSON, "shape": JSON, "data_offsets": JSON, "x": JSON})
)
def test_random_tensor_headers(tmp_path_factory, entry):
    path = tmp_path_factory.getbasetemp() / "header"
    header = json.dumps({"__metadata__": {"fastbp": '{"format_version":1}'}, "w": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 16)
    with pytest.raises(FormatError):
        _container.read(path)


def test_format_error_is_a_value_error_that_pickles():
    error = FormatError("m", "wrong")
    assert isinstance(error, ValueError)
    twin = pickle.loads(pickle.dumps(error))
    assert (str(twin), twin.path, twin.problem) == ("m: wrong", "m", "wrong")
