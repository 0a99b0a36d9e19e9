"""A playground as the command starts it, in a process of its own."""

import os
import re
import signal
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def address():
    """Where a playground is; Ctrl-C must end it, in silence."""
    pytest.importorskip("bokeh")
    command = [sys.executable, "-m", "fastbp", "playground", "--port", "0", "--no-browser"]
    # What a user's environment says must not lead the pages elsewhere.
    environment = {**os.environ, "BOKEH_RESOURCES": "cdn", "BOKEH_ALLOW_WS_ORIGIN": "example.com"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        line = child.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        if found is None:
            child.kill()
            pytest.fail(line + child.stderr.read())
        yield found[0]
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (0, "")
    assert re.sub(r"^.*\b403 .*\n", "", err, flags=re.MULTILINE) == ""  # what a test of refusals has caused
