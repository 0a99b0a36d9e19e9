"""What fastbp costs before it computes: how `bench.probes.footprint` keeps it, and how the documentation shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Footprint = dict[str, Any]
"""One environment: "machine" (the facts), "packages" ("name", "version", "asker", "megabytes"), "empty_seconds" (of a
process that imports nothing), "imports" ("statement", "seconds" beyond that)."""


def rst(found: Footprint) -> str:
    """Return both tables and the machine, as the documentation includes them."""
    packages = sorted(found["packages"], key=lambda package: -package["megabytes"])
    facts = found["machine"]
    lines = [
        ".. csv-table::",
        '   :header: "package", "version", "asked for by", "MB on the disk"',
        "",
        *(f'   "{p["name"]}", "{p["version"]}", "{p["asker"]}", "{p["megabytes"]:.1f}"' for p in packages),
        f'   "together", "", "", "{sum(p["megabytes"] for p in packages):.0f}"',
        "",
        ".. csv-table::",
        '   :header: "statement, in a new process", "seconds"',
        "",
        *(f'   "``{i["statement"]}``", "{i["seconds"]:.3f}"' for i in found["imports"]),
        "",
        f"{facts['cpu']['model']}, {facts['system']}, Python {facts['versions']['python']}; measured {facts['date']}. "
        f"A process that imports nothing takes {found['empty_seconds']:.3f} s, which is not in the table.",
    ]
    return "\n".join(lines) + "\n"


def save(found: Footprint, path: Path) -> None:
    """Write what was found, as text that can be compared line by line."""
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Footprint:
    """Read what `save` wrote."""
    found: Footprint = json.loads(path.read_text(encoding="utf-8"))
    return found
