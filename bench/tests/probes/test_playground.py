"""The probe of the playground counts what a browser draws."""

import shutil

import pytest

from bench.probes.playground import pictures_per_second


@pytest.mark.slow
@pytest.mark.doc
def test_pictures_are_counted():
    pytest.importorskip("bokeh")
    pytest.importorskip("playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no Chromium here")
    assert pictures_per_second(1.0, program) > 0
