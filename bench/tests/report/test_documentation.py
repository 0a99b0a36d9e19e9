"""What the documentation says of speed: tables, sentences and pictures from the measurements."""

import shutil

import pytest

pytest.importorskip("matplotlib")

from bench.report import documentation, tables


def test_documentation_holds_every_table_and_figure(results):
    text = documentation.section(tables.load(results), {"a.svg": "what it shows"})
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
    text = " ".join(documentation.section(content, {}).split())
    assert sentence in text
    assert "jax-scan is 2.00 times as fast" not in text
    assert "refused" in text


def test_every_file_is_written(results, tmp_path):
    for name in ("roofline.json", "sizes.json", "footprint.json"):
        shutil.copy(documentation.RESULTS / name, tmp_path)
    documentation.write(tmp_path / "made", tmp_path)
    text = (tmp_path / "made" / "performance.inc").read_text()
    for name in ("peers.svg", "roofline.svg"):
        assert f".. image:: /_generated/{name}\n   :alt: " in text
        assert "<text" in (tmp_path / "made" / name).read_text()  # letters, not their outlines
    assert "one by one" in (tmp_path / "made" / "sizes.svg").read_text()
    assert (tmp_path / "made" / "roofline.txt").read_text().count("sum of the phases") == 5
    assert '"together"' in (tmp_path / "made" / "footprint.inc").read_text()
