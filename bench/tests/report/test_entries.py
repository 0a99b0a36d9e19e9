"""The tables of activations, losses and optimizers that the documentation makes when it is built."""

import re
from pathlib import Path

import pytest

from bench.report import entries
from fastbp import optimizers, reference

FOLDER = Path(entries.__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (entries.activations_table, reference.ACTIVATIONS),
        (entries.losses_table, reference.LOSSES),
        (entries.optimizers_table, reference.RULES),
    ],
    ids=lambda item: getattr(item, "__name__", ""),
)
def test_a_table_has_a_row_for_each_entry(table, names):
    rows = table().split("   * - ")[1:]
    assert [re.match(r"``(\w+)", row)[1] for row in rows[1:]] == list(names)
    assert len({row.count("\n     -") for row in rows}) == 1, "every row has every column"


def test_a_row_has_what_the_entry_says():
    text = entries.activations_table()
    row = text[text.index("* - ``gelu``") :].split("* - ")[1]
    cells = [line.strip().removeprefix("-").strip() for line in row.strip().split("\n")]
    assert cells[1:4] == ["``z Phi(z)``", "``Phi(z) + z phi(z)``", "Hendrycks and Gimpel (2016)"]
    assert cells[4:] == ["``GELU(approximate='none')``", "``gelu(approximate=False)``", "", ""]
    assert "``huber(delta)``" in entries.losses_table()
    assert "``NAdam(learning_rate=0.002, " in entries.optimizers_table()


def test_pages_include_what_is_made(tmp_path):
    """And have no list of their own: each substitution and file that a page names is there, and none is left over."""
    entries.write(tmp_path)
    pages = "".join(
        page.read_text(encoding="utf-8") for page in FOLDER.rglob("*.rst") if "generated" not in str(page)
    )
    made = {path.name for path in tmp_path.iterdir()}
    assert made <= set(re.findall(r"include:: /_generated/([\w.]+)", pages))
    substitutions = set(re.findall(r"^\.\. \|([\w ]+)\| replace::", entries.names(), re.MULTILINE))
    assert substitutions == set(re.findall(r"(?<![|\w])\|(\w[a-z ]*\w)\|", pages))


def test_tables_are_well_formed():
    core = pytest.importorskip("docutils.core")
    for text in (entries.activations_table(), entries.losses_table(), entries.optimizers_table()):
        made = core.publish_doctree(text, settings_overrides={"halt_level": 2, "report_level": 2})
        assert "table" in {type(node).__name__ for node in made.children}


def test_every_optimizer_has_a_page():
    listed = re.findall(r"^   (\w+)$", entries.classes(), re.MULTILINE)
    assert listed == [kind.__name__ for kind in optimizers.OPTIMIZERS.values()]
