"""The tables of a results file: who is compared with whom, how numbers are written."""

import numpy as np
import pytest

from bench.peers import circumstances
from bench.report import tables
from bench.tests import measured


def test_comparison_names_the_best_peer_and_the_share_of_the_peak():
    c = tables.compare(measured.results()["cases"]["a"])
    assert (c.best_name, c.ratio) == ("jax-scan", 2.0)
    assert c.share(c.ours) == pytest.approx(2e6 * 30_080 / 1e11)


def test_losing_rows_are_named():
    assert tables.losses(measured.results()) == []
    (sentence,) = tables.losses(measured.results(ours=5e5))
    assert sentence == "training tabular-small, 1 thread, float32: jax-scan is 2.00 times as fast"


@pytest.mark.parametrize(("status", "verb"), [("slowed", "slowed"), ("stolen", "disturbed")])
@pytest.mark.parametrize("name", ["jax-scan", "sklearn", "fastbp"])
def test_no_comparison_if_any_side_does_not_count(name, status, verb):
    """Also if another peer was faster: the one without a figure might have been the fastest."""
    without = measured.results(ours=5e5)
    without["cases"]["a"]["peers"][name] = {"status": status, "note": "the reason"}
    c = tables.compare(without["cases"]["a"])
    assert np.isnan(c.ratio)
    assert tables.losses(without) == []
    assert tables.refusals(without) == [
        f"training tabular-small, 1 thread, float32: {name} was {verb} (the reason)"
    ]
    assert not circumstances.counts(without["cases"]["a"])
    assert bool(circumstances.slowed(without)) == (status == "slowed")
    assert "– refused" in short_row(without)


def short_row(found):
    """The line of the short table."""
    return tables.short_table(found).markdown().splitlines()[-1].replace("–x", "–")


def test_another_way_to_run_fastbp_may_be_disturbed():
    found = measured.results()
    found["cases"]["b"]["peers"]["fastbp-njit"] = {"status": "stolen", "note": "the reason"}
    assert tables.refusals(found) == []


def test_the_machine_line_names_the_kernels_and_what_was_stolen():
    found = measured.results()
    assert "BLAS" not in tables.machine_sentence(found)
    kernel = {"owner": "numpy", "library": "openblas", "version": "0.3", "architecture": "Zen", "threads": 1}
    mkl = {"owner": "torch", "library": "mkl", "version": "2024", "architecture": None, "threads": 2}
    for name, kernels in (("sklearn", [kernel]), ("jax-scan", [kernel | {"threads": 2}, mkl])):
        found["cases"]["a"]["peers"][name] |= {"kernels": kernels, "stolen": [0.01], "lost": [[1.0, 0.5]]}
    text = tables.machine_sentence(found)
    assert "BLAS kernels: numpy's openblas 0.3 Zen, torch's mkl 2024 (kernels not known)." in text
    assert text.endswith(
        "At most 1.0% of a run that counts was stolen by the machine's host; 2 that lost more do not count."
    )
    assert circumstances.kernel_lines(found) == [
        "numpy's openblas 0.3 Zen, threads 1 or 2, in jax-scan, sklearn",
        "torch's mkl 2024 (kernels not known), threads 2, in jax-scan",
    ]


def test_a_case_without_our_figure_is_named():
    without = measured.results()
    without["cases"]["a"]["peers"]["fastbp"] = {"status": "failed", "note": "it broke"}
    assert "it broke" in tables.losses(without)[0]


@pytest.mark.parametrize(
    ("value", "text"),
    [(875_123.0, "875k"), (1.2249e6, "1.22M"), (98.7e9, "98.7G"), (5.0, "5.00"), (np.nan, "–"), (0.0, "0")],
)
def test_numbers_are_short(value, text):
    assert tables.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.5, "1.5 s"), (2.5e-6, "2.5 us"), (3e-10, "0.3 ns"), (0.02, "20 ms")]
)
def test_durations_have_units(seconds, text):
    assert tables.duration(seconds) == text


def test_tables_in_every_format():
    for table in tables.tables(measured.results()):
        assert table.title in table.text()
        assert table.markdown().count("\n") == len(table.rows) + 1
        assert table.rst().startswith(".. list-table:: ")
    assert "2.5 us" in tables.peers_table(measured.results(), "latency", 1, "float32").text()


def test_results_of_another_format_are_refused(tmp_path):
    path = tmp_path / "r.json"
    path.write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 99, expected"):
        tables.load(path)
