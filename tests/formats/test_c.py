"""C source: compiled by gcc without a warning, run, and compared with our own predictions."""

import csv
import ctypes
import io
import re
import shutil
import subprocess

import numpy as np
import pytest

import fastbp as fb
from fastbp.formats import to_c
from fastbp.layers import ACTIVATION_NAMES
from tests.formats.models import data

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]
FLAGS = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-O2"]


def network(activation="tanh", dtype="float32", seed=0, units=(7, 5), outputs=3):
    layers = [
        fb.Dropout(0.1),
        fb.Dense(units[0], activation),
        fb.Dense(units[1], activation, use_bias=False),
        fb.Dense(outputs),
    ]
    net = fb.Sequential(layers, n_inputs=4, dtype=dtype, seed=seed)
    for b in net.biases:
        if b is not None:
            b[...] = np.random.default_rng(seed).normal(size=b.shape)
    return net


def library(folder, model, name="predict", **arguments):
    """The compiled function as one of NumPy: rows in, rows out."""
    to_c(model, folder / f"{name}.c", name=name, **arguments)
    # A name of its own: a library that is loaded once more from another file of the same name is the first one still.
    subprocess.run(
        [*FLAGS, "-shared", "-fPIC", f"{name}.c", "-o", f"{name}.so", "-lm"], cwd=folder, check=True
    )
    function = getattr(ctypes.CDLL(str(folder / f"{name}.so")), name)

    def predict(x):
        x = np.ascontiguousarray(x)
        outputs = model.n_outputs if isinstance(model, fb.Sequential) else model.n_outputs_
        y = np.full((len(x), outputs), np.nan, x.dtype)
        for i in range(len(x)):
            function(ctypes.c_void_p(x[i].ctypes.data), ctypes.c_void_p(y[i].ctypes.data))
        return y

    return predict


def program(folder, model, **arguments):
    """The compiled program as a function of its standard input."""
    to_c(model, folder / "p.c", main=True, **arguments)
    subprocess.run([*FLAGS, "p.c", "-o", "p", "-lm"], cwd=folder, check=True)

    def run(text):
        data = text if isinstance(text, bytes) else text.encode()
        return subprocess.run([folder / "p"], input=data, capture_output=True)

    return run


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_sequential(tmp_path, rng, activation, dtype):
    net = network(activation, dtype)
    x = (0.2 if activation == "exp" else 2.0) * rng.normal(size=(20, 4)).astype(dtype)
    tolerance = 1e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(library(tmp_path, net)(x), net.predict(x), rtol=tolerance, atol=tolerance)


def test_activations_far_out(tmp_path):
    """Every activation at the ends of the range, and with NaN, which must not get lost."""
    names = sorted({*ACTIVATION_NAMES} - {"exp"})
    x = np.array([-1e4, -100.0, -20.0, -1e-3, 0.0, 1e-3, 20.0, 100.0, 1e4, np.nan]).reshape(-1, 1)
    for name in names:
        net = fb.Sequential([fb.Dense(1, name)], n_inputs=1, dtype="float64")
        net.set_weights([[[1.0]]], [[0.0]])
        folder = tmp_path / name
        folder.mkdir()
        np.testing.assert_allclose(
            library(folder, net)(x), net.predict(x), rtol=1e-13, atol=1e-13, err_msg=name
        )


def test_constants_are_exact(tmp_path, rng):
    """A network without rounding of its own gives the parameters back, bit by bit."""
    for dtype in ("float32", "float64"):
        values = (rng.normal(size=2000) * 10.0 ** rng.uniform(-30, 30, 2000)).astype(dtype)
        values[:6] = [0.0, -0.0, 1.0, -3.0, np.finfo(dtype).tiny / 8, np.finfo(dtype).max]
        net = fb.Sequential([fb.Dense(2000)], n_inputs=1, dtype=dtype)
        net.set_weights([np.zeros((1, 2000))], [values])
        assert np.array_equal(library(tmp_path, net, name=f"f{dtype}")(np.zeros((1, 1), dtype))[0], values)


def test_wide_networks_leave_the_stack_alone(tmp_path, rng):
    small, wide = to_c(network()), to_c(network(units=(2000, 1000)))
    assert "may run in several threads at once." in small
    assert "static float work" not in small
    assert "static float work" in wide
    assert "one thread at a time" in wide
    net = network(units=(200_000, 1), dtype="float32")
    x = rng.normal(size=(2, 4)).astype("float32")
    np.testing.assert_allclose(library(tmp_path, net)(x), net.predict(x), rtol=1e-4, atol=1e-4)


def test_memory_from_the_caller(tmp_path, rng):
    net = network(units=(2000, 10))
    to_c(net, tmp_path / "m.c")
    subprocess.run([*FLAGS, "-shared", "-fPIC", "m.c", "-o", "m.so", "-lm"], cwd=tmp_path, check=True)
    function = ctypes.CDLL(str(tmp_path / "m.so")).predict_with
    x, y, work = rng.normal(size=4).astype("float32"), np.zeros(3, "float32"), np.zeros(4000, "float32")
    assert "#define PREDICT_WORK 4000 " in to_c(net)
    function(*(ctypes.c_void_p(array.ctypes.data) for array in (x, y, work)))
    np.testing.assert_allclose(y, net.predict(x[None])[0], rtol=1e-5, atol=1e-5)


def test_several_models_in_one_program(tmp_path, rng):
    nets = [network(seed=1), fb.Sequential([fb.Dense(2)], n_inputs=4, seed=2)]
    for name, net in zip(("first", "second"), nets, strict=True):
        to_c(net, tmp_path / f"{name}.c", name=name)
    subprocess.run(
        [*FLAGS, "-shared", "-fPIC", "first.c", "second.c", "-o", "m.so", "-lm"], cwd=tmp_path, check=True
    )
    compiled = ctypes.CDLL(str(tmp_path / "m.so"))
    x = rng.normal(size=4).astype("float32")
    for name, net in zip(("first", "second"), nets, strict=True):
        y = np.zeros(net.n_outputs, "float32")
        getattr(compiled, name)(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))
        np.testing.assert_allclose(y, net.predict(x[None])[0], atol=1e-6)


def test_same_model_same_text():
    assert to_c(network()) == to_c(network())
    assert to_c(network()).isascii()


def test_probabilities(tmp_path, rng):
    net = network(dtype="float64")
    x = rng.normal(size=(6, 4))
    e = np.exp(net.predict(x))
    np.testing.assert_allclose(
        library(tmp_path, net, "soft", probabilities=True)(x), e / e.sum(1, keepdims=True)
    )
    np.testing.assert_allclose(library(tmp_path, net, "sigm", probabilities="sigmoid")(x), e / (1 + e))


def test_arguments_are_checked():
    for name in ("", "3d", "a-b", "float", "_x", "ä", "x();", None):
        with pytest.raises(ValueError, match="name must be an identifier of C"):
            to_c(network(), name=name)
    net = network()
    net.weights[1][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"not finite \(constants predict_W1\)"):
        to_c(net)
    with pytest.raises(TypeError, match="model must be a fastbp Sequential"):
        to_c(None)


@pytest.mark.parametrize("main", [False, True])
def test_names_that_do_not_compile_are_refused(tmp_path, main):
    """Whatever the headers declare and the templates call something: it is refused, or it compiles."""
    headers = "".join(f"#include <{name}.h>\n" for name in ("math", "stdio", "stdlib", "string"))
    done = subprocess.run(
        ["cc", "-std=c99", "-E", "-P", "-"], input=headers, capture_output=True, text=True, check=True
    )
    text = to_c(network(), main=True)
    names = {*re.findall(r"\b([a-z]\w*)\s*\(", done.stdout), *re.findall(r"\b([A-Za-z]\w*)\b", text)}
    names |= {"exp", "round", "x", "stdin", "NULL", "size_t", "isnan", "main"}
    accepted, refused = [], set()
    for name in sorted(names):
        try:
            to_c(network(), tmp_path / f"{name}.c", name=name, main=main)
            accepted.append(f"{name}.c")
        except ValueError:
            refused.add(name)
    assert {"exp", "round", "stdin", "NULL", "size_t", "isnan", "main"} <= refused
    assert ("x" in refused) is main and "predict.c" in accepted
    done = subprocess.run(
        ["cc", "-std=c99", "-fsyntax-only", *accepted], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# Estimators


def rows(x):
    return "\n".join(",".join(repr(float(value)) for value in row) for row in x) + "\n"


NASTY = ['say "hi", ok', "*/ int x; /*", "??/ back\\slash %s", "new\nline é"]


@pytest.mark.parametrize(
    "classes", [[3, -1], ["a", "b", "c"], [False, True], [7], NASTY[:2], NASTY, ["", " "]], ids=range(7)
)
@pytest.mark.parametrize("probabilities", [False, True])
def test_classifier(tmp_path, classes, probabilities):
    x, y = data(classes)
    model = fb.MLPClassifier((4,), max_iter=30, random_state=0).fit(x, y)
    compiled = library(tmp_path, model, probabilities=probabilities)(x)
    if probabilities:
        expected = model.predict_proba(x)
        np.testing.assert_allclose(compiled, expected[:, 1:] if len(classes) <= 2 else expected, atol=1e-12)
    done = program(tmp_path, model, probabilities=probabilities)(rows(x))
    assert done.returncode == 0
    printed = list(csv.reader(io.StringIO(done.stdout.decode())))
    assert [row[0] for row in printed] == [str(label) for label in model.predict(x).tolist()]
    assert np.array_equal(np.array([row[1:] for row in printed], dtype=float), compiled)


def test_multilabel_classifier(tmp_path):
    x, _ = data()
    model = fb.MLPClassifier((4,), max_iter=3, random_state=0).fit(x, (x > 0).astype(int))
    done = program(tmp_path, model, probabilities=True)(rows(x))
    printed = np.array([line.split(b",") for line in done.stdout.splitlines()], dtype=float)
    np.testing.assert_allclose(printed, model.predict_proba(x), atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regressor(tmp_path, dtype):
    x, y = data(dtype=dtype)
    model = fb.MLPRegressor("poisson", (4,), "logistic", max_iter=3, random_state=0).fit(x, np.abs(y))
    np.testing.assert_allclose(library(tmp_path, model)(x)[:, 0], model.predict(x), rtol=1e-6)


# The program


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """A program that prints x0 + 2 x1."""
    net = fb.Sequential([fb.Dense(1)], n_inputs=2, dtype="float64")
    net.set_weights([[[1.0], [2.0]]], [[0.0]])
    return program(tmp_path_factory.mktemp("program"), net)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("1,2\n", "5\n"),
        ("1,2", "5\n"),
        ("1,2\r\n3,4\r\n", "5\n11\n"),
        ("a,b\n1,2\n\n3,4\n", "5\n11\n"),
        ("\n 1 ,\t2 \n", "5\n"),
        ("\ufeff1,2\n", "5\n"),
        ("\ufeffx,y\n1,2\n", "5\n"),
        ("1e-3,-2.5E1\n", "-49.999000000000002\n"),
        ("name that is much longer than a field of sixty-four characters would be,y,z,w\n1,2\n", "5\n"),
        ("nan,1\ninf,1\n", "nan\ninf\n"),
    ],
)
def test_program_reads(ask, text, expected):
    done = ask(text)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, expected, b"")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n", "line 1: 1 columns, expected 2\n"),
        ("1,2\n1,2,3\n", "line 2: 3 columns, expected 2\n"),
        ("1,2\n1,\n", "line 2, column 2: '' is no number\n"),
        ("1,2\n,1\n", "line 2, column 1: '' is no number\n"),
        ("1,2x\n", "line 1, column 2: '2x' is no number\n"),
        ("1,2\n1\0,2\n", "line 2, column 1: '1' is no number\n"),
        ("1,2\na,b\n", "line 2, column 1: 'a' is no number\n"),
        ("1," + "0" * 70 + "\n", f"line 1, column 2: '{'0' * 63}' is no number\n"),
    ],
)
def test_program_refuses(ask, text, message):
    done = ask(text)
    assert (done.returncode, done.stderr.decode()) == (1, message)
