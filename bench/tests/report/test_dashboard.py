"""The dashboard: published from results, self-contained, and shown by a browser that can reach no other host."""

import json
import shutil
import subprocess
import threading

import pytest

pytest.importorskip("asv")
pytest.importorskip("matplotlib")

from asv.machine import Machine
from asv.results import Results

from bench.report import tables
from bench.report.dashboard import __main__ as dashboard
from bench.report.dashboard import trends
from bench.tests.measured import MACHINE, case

BENCHMARKS = {
    "training.Epoch.time_epoch": (["workload"], [["'online-tiny'", "'tabular-small'"]]),
    "startup.Import.time_import": ([], []),
}


def git(repo, *arguments):
    """Run git as an author of its own and return what it prints."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, "-C", repo, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A repository of three commits and asv results for each."""
    folder = tmp_path_factory.mktemp("history")
    repo, results = folder / "repo", folder / "results"
    subprocess.run(["git", "init", "-q", "-b", "main", repo], check=True)
    (results / "asv" / "ci").mkdir(parents=True)
    described = {"version": 2}
    for name, (names, params) in BENCHMARKS.items():
        described[name] = {
            "name": name,
            "param_names": names,
            "params": params,
            "type": "time",
            "unit": "seconds",
            "version": "1",
            "timeout": 60,
            "code": "",
        }
    (results / "asv" / "benchmarks.json").write_text(json.dumps(described))
    machine = {"machine": "ci", "os": "linux", "arch": "x86_64", "cpu": "test", "num_cpu": "2", "ram": "24GB"}
    machine["version"] = Machine.api_version
    (results / "asv" / "ci" / "machine.json").write_text(json.dumps(machine))
    for step in range(3):
        git(repo, "commit", "-q", "--allow-empty", "-m", f"step {step}")
        commit = git(repo, "rev-parse", "HEAD")
        date = 1000 * int(git(repo, "show", "-s", "--format=%ct", "HEAD")) + step
        row = Results({"machine": "ci", "python": "3.11"}, {}, commit, date, "3.11", "virtualenv-py3.11", {})
        row._results = {
            "training.Epoch.time_epoch": [0.01 + 0.001 * step, 0.02],
            "startup.Import.time_import": [0.4],
        }
        row._benchmark_params = {name: params for name, (_, params) in BENCHMARKS.items()}
        row._stats = {name: None for name in BENCHMARKS}
        row._benchmark_version = dict.fromkeys(BENCHMARKS, "1")
        row.save(str(results / "asv"))
    return repo, results


def peers_results(quick=False):
    """A results file of three cases, as `python -m bench.peers` writes it."""
    found = {}
    for key in ("training/tabular-small", "training/mnist-sk", "latency/one-row"):
        told = case(f"{key}/1/float32", fastbp=2e6, sklearn=5e4, jax_scan=9e5, fma_peak=1e11) | {
            "quick": quick
        }
        told["peers"]["keras"] = {"status": "skipped", "note": "keras is not installed"}
        found[f"{key}/1/float32"] = told
    machine = MACHINE | {"cpu": MACHINE["cpu"] | {"model": "Test <CPU>"}}
    return {"format": tables.FORMAT, "machine": machine, "settings": {}, "cases": found}


@pytest.fixture(scope="module")
def site(history, tmp_path_factory):
    """The site built from that history and those peers."""
    repo, results = history
    (results / "peers.json").write_text(json.dumps(peers_results()))
    out = tmp_path_factory.mktemp("site") / "out"
    dashboard.build(out, results, repo)
    return out


def test_nothing_is_fetched_from_another_host(site):
    assert trends.foreign_addresses(site) == []
    html = (site / "trends" / "index.html").read_text()
    for file in trends.SCRIPTS.values():
        assert f"vendor/{file}" in html
        assert (site / "trends" / "vendor" / file).is_file()
    assert "integrity" not in html


def test_every_vendored_package_brings_its_license():
    folders = [path for path in trends.VENDOR.iterdir() if path.is_dir()]
    assert len(folders) == 6
    for folder in folders:
        (text,) = (p.read_text(encoding="utf-8") for p in folder.glob("LICENSE*"))
        assert "permission" in text.lower()


def test_an_unmapped_address_is_an_error(tmp_path):
    (tmp_path / "index.html").write_text(
        '<script src="https://cdn.example.org/new.js"></script><li id="nav-li-">'
    )
    with pytest.raises(trends.DashboardError, match=r"cdn\.example\.org/new\.js"):
        trends.localize(tmp_path)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.html", '<link rel="stylesheet" href="//cdn.example.org/x.css">'),
        ("a.css", "@import 'https://cdn.example.org/x.css';"),
        ("a.css", "b { background: url(https://cdn.example.org/x.png) }"),
    ],
)
def test_foreign_addresses_are_found(tmp_path, file, text):
    (tmp_path / file).write_text(text)
    assert len(trends.foreign_addresses(tmp_path)) == 1


def test_links_for_people_are_no_fetches(tmp_path):
    (tmp_path / "a.html").write_text('<a href="https://example.org/">read</a>')
    assert trends.foreign_addresses(tmp_path) == []


def test_shallow_clone_is_refused(history, tmp_path):
    repo, results = history
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{repo}", tmp_path / "clone"], check=True)
    with pytest.raises(trends.DashboardError, match="shallow"):
        trends.publish(results / "asv", tmp_path / "out", tmp_path / "clone")


def test_results_of_an_unknown_history_are_refused(history, tmp_path):
    _, results = history
    other = tmp_path / "other"
    subprocess.run(["git", "init", "-q", "-b", "main", other], check=True)
    git(other, "commit", "-q", "--allow-empty", "-m", "unrelated")
    with pytest.raises(trends.DashboardError, match="no graph|publish failed"):
        trends.publish(results / "asv", tmp_path / "out", other)


def test_quick_results_are_not_published(history, tmp_path):
    repo, results = history
    mine = tmp_path / "results"
    shutil.copytree(results, mine)
    (mine / "peers.json").write_text(json.dumps(peers_results(quick=True)))
    with pytest.raises(ValueError, match="--quick"):
        dashboard.build(tmp_path / "out", mine, repo)


def test_a_folder_of_other_things_is_not_replaced(history, tmp_path):
    repo, results = history
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(trends.DashboardError, match="choose another"):
        dashboard.build(tmp_path, results, repo)
    assert (tmp_path / "precious.txt").exists()


def test_front_page_escapes_and_names_the_losers(site):
    html = (site / "index.html").read_text()
    assert "Test &lt;CPU&gt;" in html
    assert "Where fastbp is behind" in html
    assert "training.Epoch.time_epoch" in html


def test_pages_render_without_any_other_host(site, browser, tmp_path):
    troubles = []
    with dashboard.server(site) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        home = f"http://127.0.0.1:{served.server_port}"
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"failed {request.url}"))
        page.on("response", lambda r: troubles.append(f"{r.status} {r.url}") if r.status >= 400 else None)

        page.goto(f"{home}/index.html")
        assert page.locator("h1").inner_text() == "fastbp: measured"
        for picture in page.locator("img").all():
            assert picture.evaluate("img => img.complete && img.naturalWidth") > 100
        page.screenshot(path=tmp_path / "peers.png", full_page=True)

        page.get_by_role("link", name="All graphs").click()
        page.wait_for_selector(
            "#summarygrid-display .benchmark-container, #summarygrid-display a", timeout=60_000
        )
        assert "error.html" not in page.url
        assert page.locator("#summarygrid-display canvas").count() >= 1
        page.screenshot(path=tmp_path / "grid.png")

        page.goto(f"{home}/index.html")
        page.get_by_role("link", name="training.Epoch.time_epoch").click()
        page.wait_for_selector("#main-graph canvas", timeout=60_000)
        drawn = """() => {
            const c = document.querySelector("#main-graph canvas");
            return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some(v => v);
        }"""
        page.wait_for_function(drawn, timeout=60_000)
        page.screenshot(path=tmp_path / "graph.png")
        page.get_by_role("link", name="Peers and roofline").click()
        assert page.locator("h1").inner_text() == "fastbp: measured"
        page.close()
        served.shutdown()
    assert troubles == []
