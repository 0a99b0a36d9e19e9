"""How many pictures a second does the page of `fastbp playground` draw while a network learns, on one core?

    python -m bench.probes.playground [--seconds 5] [--browser chromium]

Server and browser share the core: both are started by a process that may use one only. A picture counts when the
browser has drawn it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time

FRAMES = """() => Array.from(Bokeh.documents[0]._all_models.values())
    .filter(m => "drawn" in m.attributes).reduce((sum, m) => sum + m.drawn, 0)"""


def pictures_per_second(seconds: float, program: str) -> float:
    """Return the rate at which a browser draws, for the network that the page opens with.

    Parameters
    ----------
    seconds : float
    program : str          The browser: Chromium, or one like it.
    """
    from playwright.sync_api import sync_playwright

    command = [sys.executable, "-m", "fastbp", "playground", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"http\S+", server.stdout.readline())
            if found is None:
                raise SystemExit("the playground did not start")
            with sync_playwright() as driver:
                browser = driver.chromium.launch(
                    executable_path=program, args=["--no-sandbox", "--disable-gpu"]
                )
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(f"{found[0]}?tab=learning")
                page.locator(".play:visible button").click()
                page.wait_for_timeout(1000)
                before, begin = page.evaluate(FRAMES), time.perf_counter()
                page.wait_for_timeout(1000 * seconds)
                drawn, duration = page.evaluate(FRAMES) - before, time.perf_counter() - begin
                browser.close()
        finally:
            server.send_signal(signal.SIGINT)
    return float(drawn / duration)


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description="Pictures per second of the playground, on one core.")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--browser", default="chromium", metavar="PROGRAM")
    arguments = parser.parse_args()
    program = shutil.which(arguments.browser)
    if program is None:
        parser.error(f"there is no program {arguments.browser}: name another one with --browser")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rate = pictures_per_second(arguments.seconds, program)
    print(f"{rate:.1f} pictures/s while learning, server and browser on one core")


if __name__ == "__main__":
    main()
