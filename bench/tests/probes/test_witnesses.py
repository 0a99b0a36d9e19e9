"""The witnesses: what they cover, when two of them are the same, and what the command does with a difference."""

import json
import subprocess
import warnings

import numpy as np
import pytest

import fastbp as fb
from bench.probes import draws, estimators, names, outcome, runs, witnesses
from bench.probes.outcome import Outcome

PROGRAMS = runs.programs()
STORED = witnesses.read(runs.STORED)


# What they cover


def test_there_are_two_hundred_of_every_family():
    count = {}
    for name in PROGRAMS:
        family = name.partition("/")[0]
        count[family] = count.get(family, 0) + 1
    assert count == {
        "fit": 63, "threads": 22, "online": 10, "sparse": 12, "trainer": 14, "stream": 6, "memmap": 6, "resume": 10,
        "predict": 7, "compiled": 7, "classifier": 25, "regressor": 18,
    }  # fmt: skip


def test_every_part_has_a_witness():
    parts = {part.partition("(")[0] for name in PROGRAMS for part in name.replace("+", "/").split("/")}
    losses = {loss.partition("(")[0] for loss in draws.LOSSES}
    assert parts >= {*draws.ACTIVATIONS, *draws.OPTIMIZERS, *draws.DTYPES, *losses}
    assert parts >= {*estimators.SOLVERS, *estimators.COURSES, *estimators.LOSSES}


def test_every_loss_meets_every_optimizer():
    pairs = {tuple(name.split("/")[2:4]) for name in PROGRAMS if name.startswith("fit/")}
    assert len(pairs) == len(draws.LOSSES) * len(draws.OPTIMIZERS)


def test_stored_records_are_whole_and_threads_do_not_show():
    assert len(STORED["baseline"]) == 40
    for machine in STORED["machines"]:
        records = machine["records"]
        assert records.keys() <= PROGRAMS.keys()
        for name, record in records.items():
            assert [len(text) for text in record["hashes"]] == [outcome.DIGITS] * 3
            assert np.isfinite(record["numbers"]).all() and len(record["numbers"]) == 3 + outcome.SAMPLES
            if name.startswith("threads/") and name.endswith("/2"):
                assert record["hashes"] == records[f"{name[:-1]}1"]["hashes"]


# When two are the same


@pytest.mark.parametrize("name", {name.partition("/")[0]: name for name in PROGRAMS}.values())
def test_a_witness_says_the_same_twice(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fits that are cut short say so
        assert PROGRAMS[name]().record() == PROGRAMS[name]().record()


def test_the_last_bit_shows():
    values = np.linspace(0, 1, 12, dtype=np.float32)
    other = values.copy()
    other[5] = np.nextafter(other[5], 2, dtype=np.float32)
    assert outcome.digest([values]) == outcome.digest([values.copy()])
    changed = [[other], [values.astype(float)], [values.reshape(3, 4)], [values[:5], values[5:]], [-values]]
    assert len({outcome.digest(arrays) for arrays in [[values], *changed]}) == 6
    assert outcome.digest([values.reshape(3, 4).T]) == outcome.digest([values.reshape(3, 4).T.copy()])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_flat_arrays_are_read_without_their_padding(dtype):
    net = fb.Sequential([fb.Dense(5, "tanh"), fb.Dense(30, use_bias=False), fb.Dense(1)], 70, dtype)
    net.engine.theta += np.arange(net.engine.theta.size)
    for part, expected in zip(
        outcome.like_parameters(net, net.engine.theta), outcome.parameters(net), strict=True
    ):
        np.testing.assert_array_equal(part, expected)


def test_differences_are_relative_to_norm_and_largest_sample():
    theta = np.array([1.0, -4.0, 1e-9])
    one = Outcome([theta], [np.array([2.0])]).record()
    assert outcome.difference(one, Outcome([theta], [np.array([2.002])]).record()) == pytest.approx(
        1e-3, rel=0.01
    )
    assert outcome.difference(
        one, Outcome([theta + [0, 0, 4e-5]], [np.array([2.0])]).record()
    ) == pytest.approx(1e-5)
    assert outcome.difference(one, one) == 0.0


# What the command does


def record(value=1.0):
    return Outcome([np.full(3, value)]).record()


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command with two programs, a file of its own, and runs that are only told."""
    here, there = {"cpu": "here"}, {"cpu": "there"}
    told = {"fit/a": record(), "fit/b": record()}
    before = {name: dict(r) for name, r in told.items()}
    asked = []

    def records_of(commit, wanted, environment):
        asked.append((commit, sorted(wanted)))
        return {name: before[name] for name in wanted}

    path = tmp_path / "witnesses.json"
    witnesses.write(
        path, {"baseline": "c0", "remade": [], "machines": [{"environment": there, "records": dict(before)}]}
    )
    monkeypatch.setattr(runs, "STORED", path)
    monkeypatch.setattr(runs, "programs", lambda: dict.fromkeys(told))
    monkeypatch.setattr(
        runs, "run", lambda wanted: {"environment": here, "records": {name: told[name] for name in wanted}}
    )
    monkeypatch.setattr(runs, "records_of", records_of)
    return lambda *arguments: witnesses.main(list(arguments)), told, path, asked


def test_an_unknown_machine_asks_the_commit(command, capsys):
    run, told, _, asked = command
    assert run() == 0
    assert asked == [("c0", ["fit/a", "fit/b"])]
    assert (
        "witnesses: 2 of 2 as before (0 from witnesses.json, 2 from a run of c0)" in capsys.readouterr().out
    )
    told["fit/b"] = record(1.001)
    assert run("--check", "--tolerance") == 1
    assert "DIFFERENT  fit/b: theta; relative difference 1.0e-03" in capsys.readouterr().out
    told["fit/b"] = {"error": "TypeError: no"}
    assert run("--only", "b") == 1
    assert "DIFFERENT  fit/b: now TypeError: no; before no error" in capsys.readouterr().out


def test_what_is_made_is_known(command):
    run, _, path, asked = command
    assert run("--make") == 0
    asked.clear()
    assert run() == 0 and not asked
    assert [m["environment"]["cpu"] for m in witnesses.read(path)["machines"]] == ["there", "here"]


def test_a_difference_needs_a_reason_of_its_own(command, capsys):
    run, told, path, _ = command
    assert run("--make") == 0
    kept = path.read_text()
    told["fit/a"] = record(2.0)
    assert run("--make") == 1
    assert "say why, with --reason" in capsys.readouterr().out
    assert path.read_text() == kept
    assert run("--make", "--reason", "sums in pairs") == 0
    stored = witnesses.read(path)
    assert stored["remade"] == [{"reason": "sums in pairs", "names": ["fit/a"]}]
    assert [sorted(m["records"]) for m in stored["machines"]] == [["fit/b"], ["fit/a", "fit/b"]]
    assert run() == 0
    told["fit/a"] = record(3.0)
    assert run("--make", "--reason", "sums in pairs") == 1
    assert "this reason was given before" in capsys.readouterr().out
    told["fit/a"] = {"error": "TypeError: no"}
    assert run("--make", "--reason", "another") == 1
    assert "no witness" in capsys.readouterr().out


def test_the_commit_of_a_reason_is_found(tmp_path):
    def git(*arguments):
        settings = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *settings, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    commits, stored = {}, {"baseline": "c0", "remade": [], "machines": []}
    for folder, reason in (("a", 'first "µ"'), ("a", "second"), ("b", "third")):
        stored["remade"].append({"reason": reason, "names": [f"{reason}/1", "all"]})
        (tmp_path / folder).mkdir(exist_ok=True)
        witnesses.write(tmp_path / folder / runs.STORED.name, stored)
        git("add", ".")
        git("commit", "-q", "-m", reason)
        commits[reason] = git("rev-parse", "HEAD")
    assert {reason: witnesses.commit_of(f"{reason}/1", stored, tmp_path) for reason in commits} == commits
    assert witnesses.commit_of("all", stored, tmp_path) == commits["third"]
    assert witnesses.commit_of("none", stored, tmp_path) == "c0"
    stored["remade"].append({"reason": "fourth", "names": ["all"]})
    with pytest.raises(RuntimeError, match="no commit holds that"):
        witnesses.commit_of("all", stored, tmp_path)


def test_names_are_parts_or_patterns(capsys):
    listed = ["fit/float32/adam/1", "fit/float64/adam/2", "sparse/float32/3"]
    assert witnesses.select(listed, "float32") == [listed[0], listed[2]]
    assert witnesses.select(listed, "fit/*/2") == [listed[1]]
    assert witnesses.main(["--list", "--only", "threads/float32/packed"]) == 0
    assert capsys.readouterr().out.split() == ["threads/float32/packed/1", "threads/float32/packed/2"]
    assert witnesses.main(["--only", "nothing"]) == 2
    assert "no name holds 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--reason", "x"], ["--tests", "--only", "x"], ["--make", "--check"]])
def test_options_that_do_not_go_together(arguments, capsys):
    with pytest.raises(SystemExit):
        witnesses.main(arguments)
    assert "error:" in capsys.readouterr().err


def test_switches_are_part_of_the_environment(monkeypatch):
    for name in runs.SWITCHES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FASTBP_VECTOR_BYTES", "16")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    found = runs.environment()
    assert found["vector_bytes"] == 16 and found["OPENBLAS_CORETYPE"] == "Haswell"
    assert found.keys() >= {"cpu", "host", "system", "python", *runs.PACKAGES}


@pytest.mark.slow
def test_an_earlier_commit_agrees():
    """The whole way, as on a machine that is not in the file: earlier commits from git, in processes of their own."""
    try:
        runs.git("cat-file", "-e", f"{STORED['baseline']}^{{commit}}")
    except RuntimeError:
        pytest.skip("the history of this checkout does not reach back to the baseline")
    few = witnesses.select(list(PROGRAMS), "online/float64")
    current = runs.run(few)
    old, source = witnesses.expected(few, {**STORED, "machines": []}, current["environment"])
    assert source.startswith("0 from witnesses.json, ")
    assert not witnesses.compare(old, current["records"])


# The names of tests


def test_a_test_that_is_gone_needs_a_reason():
    before = ["test_a", "test_a", "test_b[x-1]", "test_b[y-1]", "Test::test_c[*]", "test_d"]
    today = ["test_a", "test_d", "test_new"]
    gone = {"moved": ["test_b[*-1]", "test_e*"], "merged": ["Test::test_c[*]"]}
    assert names.compare(before, today, gone) == (["test_a"], ["test_e*"])
    assert names.compare(before, before, {}) == ([], [])


def test_stored_names_of_tests_are_there():
    stored = names.read()
    assert stored == sorted(stored) and len(stored) > 4000
    assert not any(".py::" in name for name in stored)
    assert all(reason and patterns for reason, patterns in json.loads(names.GONE.read_text()).items())
