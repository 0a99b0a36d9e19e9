"""What may be typed, what is answered at once, and what becomes of faults that no command knows."""

import subprocess
import sys
from pathlib import Path

import pytest

import fastbp
from fastbp import cli
from fastbp.cli import entry


def test_help_and_version(run):
    assert "train" in run("--help").stdout
    assert run("--version").stdout == f"fastbp {fastbp.__version__}\n"
    for command in ("train", "predict", "explain", "playground", "info", "warmup"):
        assert f"usage: fastbp {command}" in run(command, "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "fit",
        "--verbose",
        "train --epochs 0",
        "train --epochs many",
        "train --hidden 64,0",
        "train --hidden 64,,64",
        "train --hidden 100000000",
        "train --activation softmax",
        "train --optimizer lbfgs",
        "train --lr -1",
        "train --lr nan",
        "train --batch-size 0",
        "train --seed -1",
        "train --dropout 1",
        "train --test-size 1",
        "train --dtype float16",
        "train --task clustering",
        "train digits iris",
        "train --epo 3",
        "predict",
        "predict model.safetensors",
        "playground --port 65536",
        "playground --port web",
    ],
)
def test_wrong_usage(run, arguments, tmp_path):
    done = run(*arguments.split(), code=2)
    assert done.stderr.startswith("usage: fastbp") and "error: " in done.stderr
    assert done.stdout == "" and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", ["['--help']", "['train', '--help']", "['train', '--lr', '0']", "['predict']"]
)
def test_help_loads_nothing(arguments):
    """Help and usage errors come before NumPy, Numba and scikit-learn are loaded."""
    code = (
        "import sys\nfrom fastbp.cli import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        "assert not {'numpy', 'numba', 'sklearn'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_console_script():
    from importlib.metadata import entry_points

    (script,) = [entry for entry in entry_points(group="console_scripts") if entry.name == "fastbp"]
    assert script.load() is cli.main


def test_programming_errors_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(entry, "_run", lambda argv: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.main([])


def test_other_faults_are_one_line(monkeypatch, capsys):
    for error, line in {
        MemoryError(): "not enough memory",
        MemoryError("9 GiB"): "not enough memory (9 GiB)",
        OSError(28, "No space left on device"): "No space left on device",
        PermissionError(13, "Permission denied", "a\nb.csv"): "a b.csv: Permission denied",
    }.items():

        def fail(argv, error=error):
            raise error

        monkeypatch.setattr(entry, "_run", fail)
        assert cli.main([]) == 1
        assert capsys.readouterr().err == f"fastbp: error: {line}\n"


def test_module_is_importable_without_running():
    assert "main" in (Path(fastbp.__file__).parent / "__main__.py").read_text()
