"""The figures of README: filled in from a results file, and checked against it."""

import json

import pytest

from bench.peers.registry import OURS, PEAK
from bench.report import readme, tables
from bench.tests.measured import case


def add(path, key, **rates):
    """Write another case into a results file."""
    content = tables.load(path)
    content["cases"][key] = case(key, **rates)
    tables.save(content, path)


def test_readme_shows_three_figures_with_their_machine(results):
    add(results, "classes/mnist-sk/1/float32", fastbp=3e5, sklearn=1e5)
    add(results, "classes/tabular-small/1/float32", fastbp=2e6, sklearn=1e5)
    add(results, "startup/tabular-small/2/float32", **{"fastbp": 2.0, "fastbp (cold)": 0.125, "keras": 0.5})
    text = readme.readme_section(tables.load(results))
    assert text.splitlines()[2:5] == [
        "| `fit` after the import is changed, 2 networks, 1 thread | scikit-learn's classes"
        " | 3.00 to 20.00 times as fast |",
        "| an epoch of training, 1 network, 2 threads | the fastest of JAX, scikit-learn | 0.50 times as fast |",
        "| one row, predicted from Python | NumPy, the fastest peer: 10 us | 2.5 us, 4.00 times as fast |",
    ]
    assert max(len(line) for line in text.splitlines() if not line.startswith("|")) <= 120
    text = " ".join(text.split())
    assert "Some CPU (avx2), 2 cores, 24 GiB; measured 2026-01-01 at commit abc." in text
    assert "The first run compiles: 8 s from the start of the process to the end of the first epoch" in text
    assert "later runs take 500 ms. fastbp is behind in 1 of the 6 cases measured." in text


def test_readme_shows_no_figure_that_was_not_measured(results):
    """Neither a suite that was not run, nor a case in which fastbp or all of its peers failed."""
    add(results, "classes/mnist-sk/1/float32", fastbp=3e5)
    add(results, "classes/tabular-multi/1/float32", sklearn=1e5)
    text = readme.readme_section(tables.load(results))
    assert "nan" not in text and "scikit-learn's classes" not in text and "compiles" not in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 4


def test_every_peer_has_a_library():
    for suite in tables.SUITES.values():
        for peer in suite.peers:
            if peer is not PEAK and not peer.name.startswith(OURS):
                assert readme.library(peer.name)


def test_written_checked_and_stale(results, tmp_path, capsys):
    page = tmp_path / "README.md"
    page.write_text(f"# Title\n\n{readme.BEGIN}\nold\n{readme.END}\n\nrest\n")
    command = [str(results), "--readme", str(page)]
    assert readme.main([*command, "--check"]) == 1
    assert "README.md is not what peers.json says" in capsys.readouterr().out
    assert readme.main(command) == 0
    text = page.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("\n\nrest\n")
    assert "old" not in text
    assert readme.main([*command, "--check"]) == 0
    assert readme.main(command) == 0
    assert page.read_text() == text


@pytest.mark.parametrize("text", ["no markers", f"{readme.END} {readme.BEGIN}", f"{readme.BEGIN} x", ""])
def test_missing_markers_are_an_error(text):
    with pytest.raises(ValueError, match="performance:begin"):
        readme.fill(text, "section")


def test_quick_results_are_refused(results, capsys):
    content = json.loads(results.read_text())
    content["cases"]["latency/one-row/1/float32"]["quick"] = True
    results.write_text(json.dumps(content))
    assert readme.main([str(results)]) == 1
    assert "--quick" in capsys.readouterr().err


def test_readme_says_what_was_measured(capsys):
    code = readme.main(["--check"])
    assert code == 0, capsys.readouterr().out
