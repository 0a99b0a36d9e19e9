"""The names users type: all there, all documented, all examples true, and cheap to import."""

import doctest
import importlib
import inspect
import json
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp

NAMES = """
    MLPClassifier MLPRegressor
    Sequential Dense Dropout Trainer History
    fit_many predict_many Stack
    SGD Adagrad RMSProp Adam AdamW NAdam Rprop
    Loss Rule check_grad
    ConstantSchedule StepDecay ExponentialDecay CosineDecay OneCycle InverseScaling
    EarlyStopping Checkpoint ReduceLROnPlateau ProgressBar CSVLogger TerminateOnNaN TimeLimit
    DivergenceError
    load gradient_descent explain
    formats kernels plot reference
""".split()

# Rooms whose import or examples need an optional package.
NEEDS = {
    "fastbp.plot": "matplotlib",
    "fastbp.playground": "bokeh",
    "fastbp.formats.onnx": "onnx",
    "fastbp.formats.torch": "torch",
}

MODULES = ["fastbp"] + [
    module.name
    for module in pkgutil.walk_packages(fastbp.__path__, "fastbp.")
    if not module.name.startswith("fastbp.kernels.") and module.name != "fastbp.__main__"
]


@pytest.mark.parametrize("name", NAMES)
def test_name_is_public(name):
    assert getattr(fastbp, name) is not None
    assert name in fastbp.__all__
    assert name in dir(fastbp)


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (
            "fastbp.kernels",
            "predict predict_one pullback_one train_one train_one_from value_and_grad_one warmup",
        ),
        ("fastbp.formats", "to_onnx to_torch from_torch to_c save load"),
        ("fastbp.plot", "descent_path loss_curve loss_surface decision_boundary network"),
    ],
)
def test_submodule_names(module, names):
    need(module)
    for name in names.split():
        assert callable(getattr(importlib.import_module(module), name))


def test_every_line_of_the_stub_is_a_name():
    """It is read as text: a line of another form would be left out, or be a name that does not exist."""
    stub = Path(fastbp.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    lines = [
        line for line in stub.partition("\n\n")[2].splitlines() if line and not line.startswith("__version__")
    ]
    pattern = re.compile(r"from (fastbp(?:\.\w+)?) import (\w+) as (\w+)")
    matches = [pattern.fullmatch(line) for line in lines]
    assert all(match and match[2] == match[3] for match in matches)
    assert sorted([*(match[2] for match in matches), "__version__"]) == fastbp.__all__


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = fastbp.no_such_name


@pytest.mark.parametrize("name", fastbp.__all__)
def test_every_public_object_is_documented(name):
    """A docstring everywhere, with a runnable example for what is called."""
    thing = getattr(fastbp, name)
    if name.startswith("__") or not (inspect.isclass(thing) or callable(thing) or inspect.ismodule(thing)):
        return
    doc = inspect.getdoc(thing)
    assert doc, f"fastbp.{name} has no docstring"
    exception = inspect.isclass(thing) and issubclass(thing, Exception)
    if (inspect.isclass(thing) or inspect.isfunction(thing)) and not exception:
        assert ">>>" in doc, f"fastbp.{name} has no example"
    if inspect.isclass(thing):
        for method, _ in inspect.getmembers(thing, inspect.isfunction):
            if not method.startswith("_"):
                assert inspect.getdoc(getattr(thing, method)), f"fastbp.{name}.{method} has no docstring"


CLASSES = [name for name in fastbp.__all__ if inspect.isclass(getattr(fastbp, name))]


@pytest.mark.parametrize("name", CLASSES)
def test_pickles_name_the_package_and_no_room(name):
    """So that a class may move to another room without breaking the pickles of it."""
    thing = getattr(fastbp, name)
    assert thing.__module__ == "fastbp"
    assert thing.__qualname__ == name
    assert pickle.loads(pickle.dumps(thing)) is thing
    assert b"fastbp." not in pickle.dumps(thing)


def test_pickles_of_objects_name_no_room():
    net = fastbp.Sequential(
        [fastbp.Dense(3, "relu"), fastbp.Dropout(0.5), fastbp.Dense(2)], n_inputs=4, seed=1
    )
    things = [
        net,
        fastbp.SGD(fastbp.CosineDecay(0.1, warmup=0.1), momentum=0.9),
        fastbp.EarlyStopping(patience=3),
        fastbp.History({"loss": [1.0]}),
        fastbp.MLPRegressor(hidden_layer_sizes=(3,)).partial_fit([[0.0], [1.0]], [0.0, 1.0]),
    ]
    for thing in things:
        dumped = pickle.dumps(thing)
        # Protocol 0 is text: c, a module, a name. A fitted estimator holds its optimizer, known by its package.
        modules = set(re.findall(rb"c(fastbp[\w.]*)\n", pickle.dumps(thing, protocol=0)))
        assert b"fastbp" in modules
        assert modules <= {b"fastbp", b"fastbp.estimators"}
        assert type(pickle.loads(dumped)) is type(thing)
    assert (pickle.loads(pickle.dumps(net)).predict([[1.0] * 4]) == net.predict([[1.0] * 4])).all()


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name, tmp_path, monkeypatch):
    """Every example of every docstring, run in an empty folder."""
    need(name)
    monkeypatch.chdir(tmp_path)
    run_examples(importlib.import_module(name), name)


@pytest.mark.parametrize("name", sorted(set(fastbp.kernels.__all__) - {"State", "warmup"}))
def test_doctests_of_compiled_functions(name):
    """The finder does not look into compiled functions; each must have examples."""
    thing = getattr(fastbp.kernels, name)
    assert run_examples(getattr(thing, "py_func", thing), name)


def need(name: str) -> None:
    """Skip where the optional package of a room, or of a part of it, is missing."""
    for room, package in NEEDS.items():
        if f"{name}.".startswith(f"{room}."):
            pytest.importorskip(package)


class Finder(doctest.DocTestFinder):
    """Finds classes where they are written: the public ones say that they are of `fastbp` itself."""

    def _from_module(self, module, thing):
        if inspect.isclass(thing) and thing.__module__.startswith("fastbp"):
            source = inspect.getsource(module)
            return re.search(rf"^class {thing.__name__}\b", source, re.MULTILINE) is not None
        return super()._from_module(module, thing)


def run_examples(thing, name: str) -> int:
    """Run the examples in the docstrings of a thing and of what is in it; return how many there were."""
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report: list[str] = []
    for test in Finder(exclude_empty=True).find(thing, name):
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)
    return runner.tries


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in sys.modules after a statement in a new process."""
    code = f"{statement}\nimport sys, json; print(json.dumps([m for m in sys.modules if '.' not in m]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_loads_nothing_heavy(tmp_path):
    heavy = {
        "sklearn",
        "matplotlib",
        "bokeh",
        "pandas",
        "torch",
        "jax",
        "onnx",
        "pyarrow",
        "polars",
        "IPython",
    }
    assert not loaded_by("import fastbp") & heavy
    assert not loaded_by("from fastbp import Sequential, Dense, Adam") & heavy


@pytest.mark.parametrize(
    "statement",
    [
        "import fastbp as fb; fb.Dense(3, 'relu'); fb.Dropout(0.5)",
        "import fastbp as fb; fb.Adam(); fb.SGD(fb.OneCycle(0.1), momentum=0.9).rule()",
        "from fastbp import objectives; objectives.get('huber(2.0)')",
        "from fastbp import metrics; metrics.named(['mae', max])",
        "import fastbp as fb; fb.EarlyStopping(); fb.Checkpoint('x'); fb.ProgressBar(); fb.TimeLimit(1)",
        "from fastbp import layers; layers.plan_layers([layers.Dense(3, 'gelu')])",
        "from fastbp import MLPClassifier, MLPRegressor\n"
        "MLPClassifier(activation=['relu', 'mish'])._validate_params(); MLPRegressor(solver='nadam').get_params()",
        "import fastbp.cli, contextlib, io; f = io.StringIO()\n"
        "with contextlib.redirect_stdout(f), contextlib.suppress(SystemExit): fastbp.cli.main(['train', '--help'])\n"
        "assert '--activation' in f.getvalue()",
    ],
    ids=["layers", "optimizers", "losses", "metrics", "callbacks", "plan", "estimators", "train --help"],
)
def test_naming_loads_no_numba(statement):
    """Names come from the specification's tables: the kernels are loaded by what computes."""
    assert not loaded_by(statement) & {"numba", "llvmlite"}


def test_installed_package_is_typed():
    assert (Path(fastbp.__file__).parent / "py.typed").exists()
