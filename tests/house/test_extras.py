"""Optional packages: what needs one says which extra brings it, and that extra does. The package is hidden, not
missing, so that these tests say the same in every environment."""

import re
import sys
import tomllib
from argparse import Namespace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import fastbp as fb
from fastbp import cli
from fastbp.cli import playground
from fastbp.estimators.display import LossCurveDisplay
from fastbp.tables.errors import InputError
from fastbp.tables.read import read

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def network():
    return fb.Sequential([fb.Dense(1)], n_inputs=2, seed=0)


NEEDS = {
    "pictures": ("plot", "matplotlib", lambda: fb.plot.loss_curve([1.0])),
    "display": ("plot", "matplotlib", lambda: LossCurveDisplay([1.0, 0.5]).plot()),
    "to_onnx": ("onnx", "onnx", lambda: fb.formats.to_onnx(network())),
    "register": ("onnx", "skl2onnx", lambda: fb.formats.register()),
    "tables": ("parquet", "pyarrow", lambda: read("table.parquet")),
    "page": ("playground", "bokeh", lambda: playground.run(Namespace(port=0, browser=False))),
}


@pytest.fixture
def hide(monkeypatch):
    """Make a package look as if it were not installed."""

    def hidden(package):
        for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
            monkeypatch.setitem(sys.modules, name, None)

    return hidden


@pytest.mark.parametrize("what", NEEDS)
def test_missing_package_names_its_extra(what, hide, tmp_path, monkeypatch):
    extra, package, use = NEEDS[what]
    monkeypatch.chdir(tmp_path)
    Path("table.parquet").write_bytes(b"PAR1")
    hide(package)
    with pytest.raises(
        (ImportError, InputError), match=re.escape(f'{package}: pip install "fastbp[{extra}]"')
    ):
        use()


@pytest.mark.parametrize(("extra", "package"), sorted({need[:2] for need in NEEDS.values()}))
def test_extra_brings_the_package(extra, package):
    assert package in {Requirement(line).name for line in EXTRAS[extra]}


def test_missing_pytorch_says_where_it_is(hide):
    """No extra brings it: which build of it is wanted depends on the machine."""
    hide("torch")
    with pytest.raises(ImportError, match="needs PyTorch: see https://pytorch.org"):
        fb.formats.to_torch(network())


def test_command_line_without_matplotlib(hide, tmp_path, monkeypatch, capsys):
    """Found out before the work, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    hide("matplotlib")
    assert cli.main(["train", "iris", "--plot", "curve.png"]) == 1
    message = 'fastbp: error: --plot needs matplotlib: pip install "fastbp[plot]"\n'
    assert capsys.readouterr() == ("", message)
    assert list(tmp_path.iterdir()) == []


def test_readme_names_every_extra():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [extra for extra in EXTRAS if f"`{extra}`" not in text and f"'.[{extra}]'" not in text] == []
