"""The pages of docs/decisions: when, whether it holds, what was asked, measured, decided."""

import datetime
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "decisions"
PAGES = sorted(set(FOLDER.glob("*.rst")) - {FOLDER / "index.rst"})
STATUS = re.compile(r":Status: (in force|replaced by :doc:`([\w-]+)`)\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_decision_has_its_parts(page):
    text = page.read_text(encoding="utf-8")
    assert datetime.date.fromisoformat(re.search(r"^:Date: (\S+)$", text, re.MULTILINE)[1])
    status = STATUS.search(text)
    assert status and (status[2] is None or (FOLDER / f"{status[2]}.rst").exists())
    assert re.findall(r"^(\w+)\n-+$", text, re.MULTILINE) == ["Question", "Figures", "Decision"]
    assert ".. csv-table::" in text
    assert len(text.split()) < 500


def test_the_newest_come_first():
    listed = re.findall(r"^   ([\w-]+)$", (FOLDER / "index.rst").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == [page.stem for page in PAGES]
    dates = [re.search(r":Date: (\S+)", (FOLDER / f"{name}.rst").read_text())[1] for name in listed]
    assert dates == sorted(dates, reverse=True)
