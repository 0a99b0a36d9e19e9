"""The wheel with compiled kernels: built once, put into a bare environment, used with compilation forbidden."""

import base64
import hashlib
import json
import shutil
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numba.core import config

from bench.fair import ROOT
from bench.probes.precompiled import Environment, build
from fastbp.kernels.machine import key, levels

PINS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["precompiled"]
HERE = [f"numba=={key.numba.__version__}", f"llvmlite=={key.llvmlite.__version__}"]
LEVEL, REASON = levels.choose()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(config.DISABLE_JIT), reason="nothing is compiled"),
    pytest.mark.skipif(LEVEL is None, reason=f"no level here: {REASON}"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this platform, built from a copy of the checkout."""
    pytest.importorskip("setuptools", minversion="77")
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A bare environment with that wheel."""
    return Environment(wheel, tmp_path_factory.mktemp("environment"))


@pytest.fixture
def run(environment, tmp_path):
    """Run Python there with an empty cache; returns the finished process."""
    return lambda *arguments, **variables: environment.run(*arguments, cache=tmp_path / "cache", **variables)


def info(run, **variables):
    """Return what `fastbp info` tells of the precompiled kernels."""
    done = run("-m", "fastbp", "info", "--json", **variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["precompiled"]


def test_the_wheel_is_for_this_platform(wheel, tmp_path):
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert f"-{python}-{python}" in wheel.name
    if sys.platform.startswith("linux"):
        assert "manylinux" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        told = archive.read(next(name for name in names if name.endswith("/WHEEL"))).decode()
        record = archive.read(next(name for name in names if name.endswith("/RECORD"))).decode()
        for line in record.splitlines():
            name, digest, size = line.rsplit(",", 2)
            if not name.endswith("/RECORD"):
                content = archive.read(name)
                found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, size) == (f"sha256={found}", str(len(content)))
    assert len(record.splitlines()) == len(names) == len(set(names))
    assert "Root-Is-Purelib: false" in told and f"Tag: {python}-{python}-" in told and "-any" not in told
    code = {name for name in names if "/precompiled/" in name}
    folders = {Path(name).parent.name for name in code if name.endswith(".nbc")}
    assert folders == {key.fingerprint(level.processor, level.vector_bytes) for level in levels.levels()}
    assert wheel.stat().st_size < 12_000_000
    pure = build(tmp_path, "no")
    assert pure.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(pure) as archive:
        assert set(archive.namelist()) == set(names) - code


# Two small models; what they give, and how many functions were compiled.
FIT = """
import numpy as np
from numba.core.event import RecordingListener, install_listener
listener = RecordingListener()
with install_listener("numba:compile", listener):
    import fastbp as fb
    x = np.linspace(-1, 1, 60).reshape(20, 3)
    y = (x.sum(axis=1) > 0).astype(int)
    model = fb.MLPClassifier((8,), max_iter=3, random_state=0, tol=0.0).fit(x, y)
    net = fb.Sequential([fb.Dense(4, "tanh"), fb.Dense(1)], 3, dtype="float32", seed=0)
    net.fit(x, y, epochs=3, verbose=0)
    value = float(net.predict(x[:1])[0, 0])
print(model.loss_, value, len(listener.buffer) // 2)
"""


def fit(run, **variables):
    """Return a loss, a prediction, how many functions were compiled, and standard error."""
    done = run("-W", "ignore", "-c", FIT, **variables)
    assert done.returncode == 0, done.stderr
    loss, value, compiled = map(float, done.stdout.split())
    return loss, value, int(compiled), done.stderr


def test_nothing_is_compiled_and_nothing_is_kept(run, tmp_path):
    *_, compiled, err = fit(run, FASTBP_COMPILE="never")
    assert compiled == 0
    assert "compiling" not in err
    assert not list((tmp_path / "cache").rglob("*.nbc"))
    told = info(run)
    assert told["level"] == LEVEL.name
    assert told["damaged"] == 0 < told["kernels"]


def test_the_command_line_compiles_nothing(run, tmp_path):
    model = tmp_path / "model.safetensors"
    done = run("-m", "fastbp", "train", "iris", "--epochs", "2", "--out", model, FASTBP_COMPILE="never")
    assert done.returncode == 0, done.stderr
    assert model.exists()


@pytest.mark.parametrize("level", levels.levels(), ids=lambda level: level.name)
def test_each_level_gives_the_same_numbers(level, run):
    """By its own switch; the processor must have it."""
    if level.vector_bytes > LEVEL.vector_bytes:
        pytest.skip(f"this processor is no {level.name}")
    variables = {"FASTBP_COMPILE": "never", "FASTBP_VECTOR_BYTES": str(level.vector_bytes)}
    assert info(run, **variables)["level"] == level.name
    loss, value, compiled, _ = fit(run, **variables)
    assert compiled == 0
    assert np.allclose((loss, value), fit(run, FASTBP_COMPILE="never")[:2], rtol=1e-5)


# One row through a layer of tanh; how many functions were compiled.
ROW = """
import numpy as np
from numba.core.event import RecordingListener, install_listener
listener = RecordingListener()
with install_listener("numba:compile", listener):
    from fastbp.engine import Engine
    from fastbp.layers import Layer
    engine = Engine(1, [Layer(1, "tanh", use_bias=False)], "float64")
    engine.weights[0][...] = 1.0
    value = float(engine.predict(np.ones((1, 1)))[0, 0])
print(value, len(listener.buffer) // 2)
"""


@pytest.mark.parametrize("name", ["network.run-float64", "compiled.predict_row-float64"])
def test_a_flipped_byte_is_compiled_anew(name, environment, run, tmp_path):
    """Of the entry itself, and of the one that the worked example is computed with: then nothing is trusted."""
    tree = tmp_path / "site-packages"
    shutil.copytree(environment.packages / "fastbp", tree / "fastbp")
    folder = tree / "fastbp/kernels/precompiled" / key.fingerprint(LEVEL.processor, LEVEL.vector_bytes)
    (path,) = folder.glob(f"{name}-*")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    variables = {"PYTHONPATH": str(tree)}
    assert info(run, **variables)["damaged"] == 1
    for compiled in (True, False):
        done = run("-c", ROW, **variables)
        assert done.returncode == 0, done.stderr
        value, count = done.stdout.split()
        assert float(value) == pytest.approx(np.tanh(1.0))
        assert (int(count) > 0) == compiled
        assert ("fastbp: compiling predict_row for float64" in done.stderr) == compiled


def test_another_numba_compiles(run):
    """The versions are part of the folder's name; `fastbp info` says which one differs."""
    forged = "import numba; numba.__version__ = '0.1'\n"
    told = run("-c", forged + "from fastbp.cli import main; main(['info', '--json'])")
    told = json.loads(told.stdout)["precompiled"]
    assert told["level"] is None
    assert told["reason"].endswith("here is 0.1")
    done = run("-c", forged + ROW)
    assert done.returncode == 0, done.stderr
    assert "fastbp: compiling" in done.stderr


@pytest.mark.skipif(HERE != PINS, reason="another Numba than the one that is pinned")
def test_the_extra_pins_what_the_wheel_was_made_with(wheel):
    with zipfile.ZipFile(wheel) as archive:
        made = json.loads(archive.read("fastbp/kernels/precompiled/made.json"))
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
    assert [f"{name}=={made[name]}" for name in ("numba", "llvmlite")] == PINS
    for pin in PINS:
        assert f'Requires-Dist: {pin}; extra == "precompiled"' in text
