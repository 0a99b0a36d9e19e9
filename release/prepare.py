"""Get a checkout ready for a release: `python release/prepare.py ADDRESS [--tag TAG]`.

The repository does not know its own address, so that a copy under another one needs no edit. The release workflow knows
it. What a package page shows is completed here: the project's links, and the links of the README, which are relative
in the repository and would lead nowhere from there. With a tag, the version and the changelog have to agree with it.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# [text](target), where the target has no scheme and is no place on the same page
RELATIVE = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s]+)")
URLS = """[project.urls]
Homepage = "{address}"
Documentation = "{address}/tree/{ref}/docs"
Changelog = "{address}/blob/{ref}/CHANGELOG.md"
Issues = "{address}/issues"
Source = "{address}"

"""


def version(root: Path) -> str:
    """Return the version that fastbp/__init__.py states."""
    text = (root / "fastbp" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)[1]


def faults(root: Path, tag: str) -> list[str]:
    """Return what does not agree with a tag."""
    found = []
    if tag != f"v{version(root)}":
        found.append(f"the tag is {tag}, the version in fastbp/__init__.py is {version(root)}")
    changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## \[{re.escape(tag[1:])}\] - \d{{4}}-\d{{2}}-\d{{2}}$", changes, re.MULTILINE):
        found.append(f"CHANGELOG.md has no line `## [{tag[1:]}] - YYYY-MM-DD`")
    return found


def complete(root: Path, address: str) -> None:
    """Write the address into README.md and pyproject.toml: links to the files of this version.

    Raises
    ------
    ValueError
        If that was done before.
    """
    ref = f"v{version(root)}"
    settings, readme = root / "pyproject.toml", root / "README.md"
    text = settings.read_text(encoding="utf-8")
    if "[project.urls]" in text:
        raise ValueError(f"{settings} has [project.urls] already")
    urls = URLS.format(address=address, ref=ref)
    settings.write_text(
        text.replace("[project.scripts]\n", f"{urls}[project.scripts]\n", 1), encoding="utf-8"
    )
    text = readme.read_text(encoding="utf-8")
    readme.write_text(RELATIVE.sub(rf"{address}/blob/{ref}/\1", text), encoding="utf-8")


def main() -> int:
    """Check, then write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python release/prepare.py", description=__doc__.splitlines()[0])
    parser.add_argument("address", help="of the repository: https://HOST/OWNER/NAME")
    parser.add_argument("--tag", help="v1.2.3: has to be the version, with an entry in the changelog")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    args = parser.parse_args()
    if not re.fullmatch(r"https://[^/\s]+(/[^/\s]+)+", args.address):
        parser.error(f"address must be https://HOST/OWNER/NAME, got {args.address!r}")
    if args.tag and (found := faults(args.root, args.tag)):
        print("\n".join(found), file=sys.stderr)
        return 1
    complete(args.root, args.address)
    return 0


if __name__ == "__main__":
    sys.exit(main())
