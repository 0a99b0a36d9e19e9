"""The figures of README and documentation: filled in from a results file, and checked against it."""

import json

import pytest

from bench.peers.registry import OURS, PEAK
from bench.report import readme, tables


def entry(rate):
    """A measured peer."""
    return {"status": "ok", "note": "", "rate": rate, "low": 0.9 * rate, "high": 1.1 * rate, "rates": [rate]}


@pytest.fixture
def results(tmp_path):
    """A results file in which fastbp wins on one thread and loses on two."""
    found = {}
    for threads, ours in ((1, 2e6), (2, 5e5)):
        found[f"training/tabular-small/{threads}/float32"] = {
            "suite": "training",
            "name": "tabular-small",
            "threads": threads,
            "dtype": "float32",
            "quick": False,
            "unit": "samples/s",
            "peers": {
                "fastbp": entry(ours),
                "jax-scan": entry(1e6),
                "sklearn": entry(5e4),
                "fma-peak": entry(1e11 * threads),
            },
        }
    found["latency/one-row/1/float32"] = {
        "suite": "latency",
        "name": "one-row",
        "threads": 1,
        "dtype": "float32",
        "quick": False,
        "unit": "calls/s",
        "peers": {"fastbp": entry(4e5), "fastbp-njit": entry(2e6), "numpy-hand": entry(1e5)},
    }
    machine = {
        "cpu": {"model": "Some CPU", "family": "1/2", "flags": ["avx2"]},
        "cores": 2,
        "memory_gib": 24.0,
        "system": "Linux",
        "versions": {"numpy": "2.4"},
        "commit": "abc",
        "date": "2026-01-01",
        "bandwidth": {"L2": 8e10, "L3": 5e10, "DRAM": 2e10},
    }
    path = tmp_path / "peers.json"
    path.write_text(json.dumps({"format": tables.FORMAT, "machine": machine, "cases": found}))
    return path


def add(path, case, **peers):
    """Write another case of a suite into a results file."""
    content = json.loads(path.read_text())
    suite, name, threads, dtype = case.split("/")
    content["cases"][case] = {
        "suite": suite,
        "name": name,
        "threads": int(threads),
        "dtype": dtype,
        "quick": False,
        "unit": "samples/s",
        "peers": {peer: entry(rate) for peer, rate in peers.items()},
    }
    path.write_text(json.dumps(content))


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
    pytest.importorskip("matplotlib")
    page = tmp_path / "README.md"
    page.write_text(f"# Title\n\n{readme.BEGIN}\nold\n{readme.END}\n\nrest\n")
    command = [str(results), "--root", str(tmp_path)]
    assert readme.main([*command, "--check"]) == 1
    assert "README.md is not what peers.json says" in capsys.readouterr().out
    assert readme.main(command) == 0
    text = page.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("\n\nrest\n")
    assert "old" not in text
    assert (tmp_path / "docs" / "_generated" / "peers.svg").stat().st_size > 1000
    assert (tmp_path / "docs" / "_generated" / "roofline.svg").stat().st_size > 1000
    assert readme.main([*command, "--check"]) == 0
    assert readme.main(command) == 0
    assert page.read_text() == text


@pytest.mark.parametrize("text", ["no markers", f"{readme.END} {readme.BEGIN}", f"{readme.BEGIN} x", ""])
def test_missing_markers_are_an_error(text):
    with pytest.raises(ValueError, match="performance:begin"):
        readme.fill(text, "section")


def test_quick_results_are_refused(results, tmp_path, capsys):
    content = json.loads(results.read_text())
    content["cases"]["latency/one-row/1/float32"]["quick"] = True
    results.write_text(json.dumps(content))
    assert readme.main([str(results), "--root", str(tmp_path)]) == 1
    assert "--quick" in capsys.readouterr().err


def test_documentation_holds_every_table_and_figure(results):
    text = readme.docs_section(tables.load(results))
    assert text.count(".. list-table::") == 1 + 2 + 2 + 1
    assert "     - 2.00M\n     - 2.00x jax-scan\n     - 40.00x\n" in text
    assert "numpy 2.4" in text
    assert (
        "- one row from Python, 1 thread, float32: 2.5 us (best peer numpy-hand: 10 us); fastbp-njit: 500 ns.\n"
        in text
    )
    assert "- training tabular-small, 2 threads, float32: jax-scan is 2.00 times as fast\n" in text


def test_a_case_without_a_clean_run_is_named_and_not_compared(results):
    content = tables.load(results)
    disturbed = {"status": "stolen", "note": "no clean run"}
    content["cases"]["training/tabular-small/2/float32"]["peers"]["jax-scan"] = disturbed
    sentence = "training tabular-small, 2 threads, float32: jax-scan was disturbed (no clean run)"
    text = " ".join(readme.docs_section(content).split())
    assert sentence in text
    assert "jax-scan is 2.00 times as fast" not in text
    assert "refused" in text


def test_readme_and_documentation_say_what_was_measured(capsys):
    code = readme.main(["--check"])
    assert code == 0, capsys.readouterr().out
