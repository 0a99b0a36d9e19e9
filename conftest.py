"""What every test shares: one BLAS thread, no display, deterministic examples, a seeded generator, both dtypes."""

import os
import shutil
import signal
import threading

# Before NumPy is imported: its BLAS reads these once.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Which test is the first to compile is chance: what it writes to standard error shall not depend on that.
os.environ.setdefault("FASTBP_QUIET", "1")

# A shell that starts tests in the background has them ignore Ctrl-C, and every program they start too.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

# The first example of a kernel test may compile for seconds, so no deadline anywhere. "ci" is the default:
# the same examples on every machine. HYPOTHESIS_PROFILE=explore looks for new ones. "interpreted" serves
# NUMBA_DISABLE_JIT=1, where a kernel runs a thousand times slower.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=500)
hypothesis.settings.register_profile("interpreted", derandomize=True, deadline=None, max_examples=5)
_interpreted = os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "interpreted" if _interpreted else "ci")
)
if _interpreted:
    # Compiled arithmetic goes through infinities and NaN in silence; so does the interpreter mode's.
    np.seterr(all="ignore")


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    """Both element types that the kernels know."""
    return np.dtype(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that starts every test at the same place."""
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium that can reach this machine and nothing else."""
    playwright = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no Chromium here")
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    ]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A tab that collects what goes wrong in it, `complaints`, and where it sends requests, `requested`.

    A request given up because the reader went on to another page is no fault: the search page may still be fetching the
    summaries of its results when one of them is clicked.
    """

    def request_failed(request):
        if request.failure != "net::ERR_ABORTED":
            tab.complaints.append(f"{request.failure}: {request.url}")

    tab = browser.new_page()
    tab.complaints, tab.requested = [], []
    tab.on("console", lambda m: tab.complaints.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
    tab.on("request", lambda request: tab.requested.append(request.url))
    tab.on("websocket", lambda socket: tab.requested.append(socket.url))
    tab.on("requestfailed", request_failed)
    tab.on("response", lambda r: tab.complaints.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    yield tab
    tab.close()
