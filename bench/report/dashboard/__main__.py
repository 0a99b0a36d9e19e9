"""`python -m bench.report.dashboard`: build the site from committed results; `--serve` shows it on this machine."""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import shutil
import sys
from pathlib import Path

from bench.fair import ROOT
from bench.report import tables
from bench.report.dashboard import front, trends

RESULTS = ROOT / "bench" / "results"


def build(out: Path, results: Path = RESULTS, repo: Path = ROOT) -> None:
    """Write the whole site to `out`, which is replaced.

    Raises
    ------
    bench.report.dashboard.trends.DashboardError
        When it would be empty or would need the network.
    ValueError
        When the peers' results were measured with --quick.
    """
    if out.exists():
        if any(out.iterdir()) and not (out / "trends").exists():
            raise trends.DashboardError(
                f"{out} holds something that is not a dashboard; choose another --out"
            )
        shutil.rmtree(out)
    out.mkdir(parents=True)
    trends.publish(results / "asv", out / "trends", repo)
    shutil.copy(out / "trends" / "swallow.ico", out / "favicon.ico")
    index = json.loads((out / "trends" / "index.json").read_text())
    peers = results / "peers.json"
    front.write(tables.publishable(peers) if peers.exists() else None, out, sorted(index["benchmarks"]))
    if foreign := trends.foreign_addresses(out):
        raise trends.DashboardError("addresses on other hosts: " + ", ".join(foreign))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing per request."""


def server(out: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """Return a server of `out` on 127.0.0.1 (port 0: any free one); call its serve_forever."""
    handler = functools.partial(_Quiet, directory=str(out))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


def main(arguments: list[str] | None = None) -> int:
    """Build, and serve if asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.report.dashboard", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / ".asv" / "dashboard")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--serve", action="store_true", help="show it on 127.0.0.1 (browsers refuse file://)")
    parser.add_argument("--port", type=int, default=8035)
    args = parser.parse_args(arguments)
    try:
        build(args.out, args.results)
    except (trends.DashboardError, ValueError) as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return 1
    print(f"built {args.out}")
    if args.serve:
        with server(args.out, args.port) as site:
            print(f"http://127.0.0.1:{site.server_port}/  (Ctrl-C ends it)", flush=True)
            try:
                site.serve_forever()
            except KeyboardInterrupt:
                print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
