"""The README's examples run; the site builds without a warning and works in a browser."""

import functools
import http.server
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{i}" for i in range(len(BLOCKS))])
def test_readme_example_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "__main__"})


def programs(page):
    """Return the complete programs of a guide; a block without an import is a sketch."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text, re.MULTILINE)
    return [re.sub("^   ", "", block, flags=re.MULTILINE) for block in blocks if "import" in block]


def run_program(program, page):
    exec(compile(program, page, "exec"), {"__name__": "__main__"})


# that a short example has not converged is no news
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "page",
    [
        "guides/dropin.rst",
        "guides/compiled.rst",
        "guides/many.rst",
        "guides/models.rst",
        "guides/searching.rst",
        "index.rst",
        "tutorial/index.rst",
    ],
)
def test_documented_example_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without = ["dask"] if importlib.util.find_spec("matplotlib") else ["dask", "matplotlib"]
    for program in programs(page):
        if not any(f"import {package}" in program or f"from {package}" in program for package in without):
            run_program(program, page)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")
def test_documented_cluster_runs(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    (program,) = (program for program in programs("guides/searching.rst") if "dask" in program)
    run_program(program, "guides/searching.rst")


def test_readme_is_short():
    assert len(README.split()) <= 900


def test_readme_links_resolve():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert "://" in target or (ROOT / target).exists(), target


def test_every_public_name_has_a_page():
    import fastbp
    from fastbp import optimizers

    text = (ROOT / "docs" / "reference" / "index.rst").read_text(encoding="utf-8")
    text += "".join(
        f"   {kind.__name__}\n" for kind in optimizers.OPTIMIZERS.values()
    )  # listed when the site is built
    for name in fastbp.__all__:
        if name.startswith("__") or inspect.ismodule(getattr(fastbp, name)):
            continue
        assert re.search(rf"^   {name}$", text, re.MULTILINE), f"{name} is not in docs/reference/index.rst"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Folder of the built site: the one that FASTBP_SITE names, or a new one."""
    if built := os.environ.get("FASTBP_SITE"):
        return Path(built)
    for package in ("sphinx", "numpydoc", "furo", "sphinx_gallery"):
        pytest.importorskip(package)
    # Sphinx writes generated pages beside their sources, so build a copy, with what it takes from elsewhere beside it.
    place = tmp_path_factory.mktemp("documentation")
    for folder in ("docs", "examples", "bench"):
        ignored = shutil.ignore_patterns("_build", "generated", "gallery", "__pycache__")
        shutil.copytree(ROOT / folder, place / folder, ignore=ignored)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        str(place / "docs"),
        str(place / "site"),
    ]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return place / "site"


@pytest.fixture(scope="module")
def address(site):
    """Where a local server shows the site."""
    handler = functools.partial(QuietHandler, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.mark.slow
@pytest.mark.doc
def test_internal_links_resolve(site):
    """Every relative link and picture of every page is there, and so is the place it points to."""
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 20
    broken = []
    for path, text in pages.items():
        for link in re.findall(r'(?:href|src)="([^"]+)"', text):
            target, _, fragment = link.partition("#")
            target = target.partition("?")[0]
            if re.match(r"[a-z]+:|//", target):
                continue
            file = (path.parent / target).resolve() if target else path
            if not file.is_file():
                broken.append(f"{path.relative_to(site)}: {link}")
            elif fragment and file in pages and f'id="{fragment}"' not in pages[file]:
                broken.append(f"{path.relative_to(site)}: {link} (no such place)")
    assert not broken, "\n".join(sorted(set(broken)))


@pytest.mark.slow
@pytest.mark.doc
def test_pages_need_no_other_host(site):
    """No script, style or picture comes from elsewhere: the site works offline."""
    for path in site.rglob("*.html"):
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", path.read_text(encoding="utf-8")):
            assert not re.search(r'(?:src|href)="(?:https?:)?//', tag), f"{path.relative_to(site)}: {tag}"


@pytest.mark.slow
@pytest.mark.doc
@pytest.mark.parametrize(
    "name",
    [
        "index",
        "tutorial/index",
        "guides/dropin",
        "guides/models",
        "guides/searching",
        "gallery/index",
        "reference/index",
        "performance",
        "concepts/index",
        "decisions/index",
    ],
)
def test_page_opens_without_complaint(page, address, name):
    page.goto(f"{address}/{name}.html", wait_until="load")
    assert page.locator("h1").first.is_visible()
    assert page.complaints == []


@pytest.mark.slow
@pytest.mark.doc
def test_search_finds(page, address):
    page.goto(f"{address}/index.html")
    page.locator("input.sidebar-search").fill("Nesterov")
    page.keyboard.press("Enter")
    results = page.locator("#search-results ul.search li a")
    results.first.wait_for()
    assert results.count() >= 2
    results.first.click()
    page.wait_for_load_state()
    assert "Nesterov" in page.content()
    assert page.complaints == []


@pytest.mark.slow
@pytest.mark.doc
def test_formulas_are_drawn(page, address):
    """As MathML, by the browser itself: wider than a missing one, higher than a line of text."""
    page.goto(f"{address}/tutorial/index.html")
    box = page.locator("div.math math").last.bounding_box()
    assert box["width"] > 80
    assert box["height"] > 20
