"""What a release shows and runs: one version, links that survive, workflows that are pinned and may do little."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ADDRESS = "https://example.org/owner/fastbp"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prepare(root, *arguments):
    command = [sys.executable, str(ROOT / "release" / "prepare.py"), ADDRESS, "--root", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path):
    """The files that a release is checked by and completes."""
    (tmp_path / "fastbp").mkdir()
    for name in ("README.md", "CHANGELOG.md", "pyproject.toml", "fastbp/__init__.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_version_stands_in_one_place():
    import fastbp

    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    for name in ("CITATION.cff", "release/recipe.yaml", "README.md", "docs/conf.py"):
        assert fastbp.__version__ not in (ROOT / name).read_text(encoding="utf-8"), name


def test_links_of_the_readme_survive_on_a_package_page(checkout):
    before = LINK.findall((checkout / "README.md").read_text(encoding="utf-8"))
    assert prepare(checkout).returncode == 0
    text = (checkout / "README.md").read_text(encoding="utf-8")
    after = LINK.findall(text)
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        assert (
            new == old if "://" in old else re.fullmatch(rf"{ADDRESS}/blob/v[\d.]+\w*/{re.escape(old)}", new)
        )
    # Nothing else changed.
    assert LINK.sub("](x)", text) == LINK.sub("](x)", (ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_address_becomes_the_links_of_the_project(checkout):
    assert "urls" not in PROJECT
    assert prepare(checkout).returncode == 0
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"Homepage", "Source", "Issues", "Changelog", "Documentation"} == project.pop("urls").keys()
    assert project == PROJECT
    assert "already" in prepare(checkout).stderr


def test_a_tag_has_to_be_the_version_and_in_the_changelog(checkout):
    import fastbp

    tag = f"v{fastbp.__version__}"
    wrong = prepare(checkout, "--tag", "v7.8.9")
    assert wrong.returncode == 1
    assert f"the tag is v7.8.9, the version in fastbp/__init__.py is {fastbp.__version__}" in wrong.stderr
    assert "CHANGELOG.md has no line `## [7.8.9]" in wrong.stderr
    assert (checkout / "README.md").read_bytes() == (ROOT / "README.md").read_bytes()
    with (checkout / "CHANGELOG.md").open("a", encoding="utf-8") as file:
        file.write(f"\n## [{fastbp.__version__}] - 2026-11-27\n")
    assert prepare(checkout, "--tag", tag).returncode == 0


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_pinned_and_may_do_little(path):
    """Every action by the hash of a commit, with its version beside it; rights are given to the jobs that need them."""
    text = path.read_text(encoding="utf-8")
    uses = re.findall(r"uses: (.*)", text)
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action
    top = re.search(r"^permissions:(.*(?:\n  .*)*)", text, re.MULTILINE)[1]
    assert top.strip() in ("{}", "contents: read")
    rights = set(re.findall(r"^\s+([\w-]+): write\b", text, re.MULTILINE))
    assert rights == ({"id-token"} if path.stem == "release" else set())
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


def test_an_action_has_one_version():
    actions = {}
    for path in WORKFLOWS:
        for name, version in re.findall(r"uses: (\S+)@(\S+)", path.read_text(encoding="utf-8")):
            actions.setdefault(name, set()).add(version)
    assert {name: versions for name, versions in actions.items() if len(versions) > 1} == {}


def test_the_matrix_and_the_wheels_have_every_declared_python():
    declared = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)]
    assert PROJECT["requires-python"] == f">={declared[0]}"
    lists = {
        name: re.findall(r"^        python: \[(.*)\]$", path.read_text(encoding="utf-8"), re.MULTILINE)
        for name, path in ((path.stem, path) for path in WORKFLOWS)
    }
    every = ", ".join(f'"{version}"' for version in declared)
    ends = f'"{declared[0]}", "{declared[-1]}"'
    assert lists["ci"] == [every]
    assert lists["release"] == [ends, every]


def test_the_recipe_requires_what_the_project_does():
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "release" / "recipe.yaml").read_text(encoding="utf-8"))
    python, *others = recipe["requirements"]["run"]
    assert python == "python >=${{ python_min }}"
    assert PROJECT["requires-python"] == f">={recipe['context']['python_min']}"
    wanted = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    assert {r.name: r.specifier for r in map(Requirement, others)} == wanted
    assert recipe["about"]["license"] == PROJECT["license"]
    assert recipe["build"]["python"]["entry_points"] == [
        f"{name} = {place}" for name, place in PROJECT["scripts"].items()
    ]


def test_the_citation_is_of_this_project():
    """The fields that the format demands (version 1.2.0), and nothing that stands elsewhere in other words."""
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["message"] and citation["title"].startswith(f"{PROJECT['name']}: ")
    assert citation["abstract"] == PROJECT["description"]
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["authors"] == PROJECT["authors"]
    assert "version" not in citation


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_what_the_host_reads_is_yaml(path):
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    if path.parent.name == "ISSUE_TEMPLATE" and path.name != "config.yml":
        fields = content["body"]
        assert content["name"] and content["description"]
        ids = [field["id"] for field in fields if field["type"] != "markdown"]
        assert len(ids) == len(set(ids)) and any(
            field.get("validations", {}).get("required") for field in fields
        )
