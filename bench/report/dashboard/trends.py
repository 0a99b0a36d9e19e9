"""asv's pages, published from committed results and cut loose from the content networks they load scripts from."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.fair import ROOT

VENDOR = Path(__file__).with_name("vendor")
BENCH = ROOT / "bench"

# Address in asv 0.6.6's index.html -> file in vendor/.
SCRIPTS = {
    "https://code.jquery.com/jquery-3.3.1.min.js": "jquery/jquery.min.js",
    "https://cdnjs.cloudflare.com/ajax/libs/flot/0.8.3/jquery.flot.min.js": "flot/jquery.flot.js",
    "https://cdnjs.cloudflare.com/ajax/libs/flot/0.8.3/jquery.flot.time.min.js": "flot/jquery.flot.time.js",
    "https://cdnjs.cloudflare.com/ajax/libs/flot/0.8.3/jquery.flot.selection.min.js": "flot/jquery.flot.selection.js",
    "https://cdnjs.cloudflare.com/ajax/libs/flot/0.8.3/jquery.flot.categories.min.js": "flot/jquery.flot.categories.js",
    "https://cdn.jsdelivr.net/npm/flot-orderbars@1.0.0/js/jquery.flot.orderBars.js": (
        "flot-orderbars/jquery.flot.orderBars.js"
    ),
    "https://cdnjs.cloudflare.com/ajax/libs/stupidtable/1.0.1/stupidtable.min.js": (
        "stupid-table-plugin/stupidtable.min.js"
    ),
    "https://cdnjs.cloudflare.com/ajax/libs/blueimp-md5/2.19.0/js/md5.min.js": "blueimp-md5/md5.min.js",
    "https://cdn.jsdelivr.net/npm/bootstrap@3.1.1/dist/js/bootstrap.min.js": "bootstrap/bootstrap.min.js",
    "https://cdn.jsdelivr.net/npm/bootstrap@3.1.1/dist/css/bootstrap.min.css": "bootstrap/bootstrap.min.css",
}
# Tags that make a browser fetch something; a link that a person may follow (<a>) is none of them.
_FETCHING = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*>", re.IGNORECASE)
_ADDRESS = re.compile(r"""\b(?:src|href)\s*=\s*["']((?:https?:)?//[^"']+)["']""", re.IGNORECASE)
_SRI = re.compile(r"""\s+(?:integrity|crossorigin|referrerpolicy)\s*=\s*["'][^"']*["']""", re.IGNORECASE)
_IMPORTED = re.compile(r"""(?:@import\s+|url\(\s*)["']?((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)


class DashboardError(RuntimeError):
    """The dashboard would be empty or would need the network."""


def git(repo: Path, *arguments: str) -> str:
    """Output of a git command in `repo`, "" when it fails."""
    done = subprocess.run(["git", "-C", str(repo), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def publish(results: Path, out: Path, repo: Path = ROOT) -> None:
    """Let asv publish `results` to `out`, then make the pages self-contained.

    Raises
    ------
    DashboardError
        Shallow clone, asv's own failure, no result whose commit is in the history, or an address nobody mapped.
    """
    if git(repo, "rev-parse", "--is-shallow-repository") == "true":
        raise DashboardError(
            "this clone is shallow: asv would publish an empty dashboard; run `git fetch --unshallow` first"
        )
    configuration = json.loads((BENCH / "asv.conf.json").read_text())
    branch = "main" if git(repo, "rev-parse", "--verify", "--quiet", "refs/heads/main") else "HEAD"
    configuration |= {
        "repo": str(repo),
        "branches": [branch],
        "benchmark_dir": str(BENCH / configuration["benchmark_dir"]),
        "results_dir": str(results),
        "html_dir": str(out),
        "plugins": [],  # nothing is measured here
    }
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "asv.conf.json"
        configuration["env_dir"] = str(Path(scratch) / "env")
        path.write_text(json.dumps(configuration))
        command = [sys.executable, "-m", "asv", "publish", "--no-pull", "--config", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=scratch, check=False)
    if done.returncode:
        raise DashboardError(f"asv publish failed: {(done.stdout + done.stderr).strip()[-600:]}")
    check_not_empty(out, results)
    localize(out)


def check_not_empty(out: Path, results: Path) -> None:
    """Fail when asv published pages without a single graph, and say whose results it could not place."""
    index = json.loads((out / "index.json").read_text())
    graphs = (
        [p for p in (out / "graphs").rglob("*.json") if "summary" not in p.parts]
        if (out / "graphs").exists()
        else []
    )
    if index.get("revision_to_hash") and graphs:
        return
    names = sorted(
        p.name for p in results.rglob("*.json") if p.name not in ("machine.json", "benchmarks.json")
    )
    raise DashboardError(
        f"asv published no graph; results found: {', '.join(names) or 'none'}; a result shows only when its"
        " commit is in the history of the branch"
    )


def localize(out: Path) -> None:
    """Copy the vendored scripts beside asv's pages and point the pages at them.

    Raises
    ------
    DashboardError
        When any page would still fetch from another host.
    """
    shutil.copytree(VENDOR, out / "vendor", dirs_exist_ok=True)
    for page in sorted(out.glob("*.html")):
        page.write_text(_FETCHING.sub(_local_tag, page.read_text(encoding="utf-8")), encoding="utf-8")
    index = out / "index.html"
    back = '<li><a href="../index.html">Peers and roofline</a></li>'
    html = index.read_text(encoding="utf-8")
    index.write_text(html.replace('<li id="nav-li-"', f'{back}\n\t<li id="nav-li-"', 1), encoding="utf-8")
    if foreign := foreign_addresses(out):
        raise DashboardError("addresses on other hosts, not mapped to vendor/: " + ", ".join(foreign))


def _local_tag(match: re.Match[str]) -> str:
    tag = match.group(0)
    for address, file in SCRIPTS.items():
        if f'"{address}"' in tag:
            # the hash would be checked against a file that differs (unminified) from the network's
            return _SRI.sub("", tag.replace(address, f"vendor/{file}"))
    return tag


def foreign_addresses(site: Path) -> list[str]:
    """Addresses on other hosts that a browser would fetch for the pages and styles below `site`."""
    found = set()
    for page in site.rglob("*.html"):
        for tag in _FETCHING.findall(page.read_text(encoding="utf-8")):
            found.update(_ADDRESS.findall(tag))
    for sheet in site.rglob("*.css"):
        found.update(_IMPORTED.findall(sheet.read_text(encoding="utf-8")))
    return sorted(found)
