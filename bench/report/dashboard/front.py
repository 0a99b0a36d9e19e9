"""The front page: fastbp beside its peers, the roofline, where fastbp is behind, and the way to the trend graphs."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from bench.peers.registry import SUITES
from bench.report import charts, tables

STYLE = """
:root { --ink: #1e293b; --soft: #64748b; --line: #e2e8f0; --accent: #c2410c; }
body { font: 15px/1.55 system-ui, sans-serif; color: var(--ink); max-width: 76rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p { max-width: 60rem; } .soft { color: var(--soft); font-size: .88rem; }
a { color: var(--accent); } img { max-width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; margin: .4rem 0 1rem; }
caption { text-align: left; white-space: nowrap; font-weight: 600; padding: .3rem 0; }
th, td { padding: .28rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid var(--ink); }
tr.ours td { font-weight: 600; color: var(--accent); } nav a { margin-right: 1.2rem; }
"""


def html_table(table: tables.Table) -> str:
    """A report's table, fastbp's own row marked."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
    body = []
    for row in table.rows:
        mark = ' class="ours"' if row[0].startswith("fastbp") else ""
        body.append(f"<tr{mark}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    return (
        f'<div class="scroll"><table><caption>{escape(table.title)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _peers(results: tables.Results, out: Path) -> list[str]:
    parts = [f'<p class="soft">{escape(tables.machine_sentence(results))}</p>']
    for threads, dtype in tables.conditions(results, "training"):
        parts.append(html_table(tables.training_table(results, threads, dtype)))
    for name, alt in charts.draw(results, out).items():
        title = '<h2 id="roofline">Roofline</h2>' if name == "roofline.svg" else ""
        parts.append(f'{title}<img src="{name}" alt="{escape(alt)}">')
    behind = "".join(f"<li>{escape(sentence)}</li>" for sentence in tables.losses(results))
    parts.append('<h2 id="behind">Where fastbp is behind</h2>')
    parts.append(f"<ul>{behind}</ul>" if behind else "<p>In none of the cases measured here.</p>")
    if refused := "".join(f"<li>{escape(sentence)}</li>" for sentence in tables.refusals(results)):
        parts.append(f'<h2 id="refused">What allows no comparison</h2><ul>{refused}</ul>')
    parts.append('<h2 id="all">Every peer</h2>')
    for suite in SUITES:
        parts += [
            html_table(tables.peers_table(results, suite, threads, dtype))
            for threads, dtype in tables.conditions(results, suite)
        ]
    return parts


def write(results: tables.Results | None, out: Path, benchmarks: list[str]) -> None:
    """Write index.html and its pictures.

    Parameters
    ----------
    results : dict or None
        A peers' results file; None when there is none, which the page then says.
    out : Path
        The site's folder.
    benchmarks : list of str
        Names of asv benchmarks that have a graph.
    """
    parts = ['<h2 id="peers">Beside the peers</h2>']
    if results is None:
        parts.append(
            "<p>No results yet: <code>python -m bench.peers --json bench/results/peers.json</code></p>"
        )
    else:
        parts += _peers(results, out)
    links = "".join(
        f'<li><a href="trends/index.html#{quote(name)}">{escape(name)}</a></li>' for name in benchmarks
    )
    parts.append(
        f'<h2 id="trends">Commit by commit</h2><p><a href="trends/index.html">All graphs</a></p><ul>{links}</ul>'
    )
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>fastbp: measured</title><link rel="icon" href="favicon.ico"><style>{STYLE}</style>
</head>
<body>
<h1>fastbp: measured</h1>
<nav><a href="#peers">Peers</a><a href="#roofline">Roofline</a><a href="#all">Every peer</a>
<a href="trends/index.html">Trends</a></nav>
<p>Every peer trains the same network from the same weights on the same batches, in the best idiom its users know, each
in its own process, in turns; a figure counts only when the final losses agree. Medians; rates in units per second.</p>
{"".join(parts)}
</body>
</html>
"""
    (out / "index.html").write_text(page, encoding="utf-8")
