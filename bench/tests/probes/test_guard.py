"""The instruction guard: what counts as a regression, how callgrind's files are read."""

import pytest

from bench.probes import guard


def write(folder, number, trigger, total):
    """A file as callgrind writes it, as far as it is read."""
    (folder / f"out.{number}").write_text(
        f"version: 1\ndesc: Trigger: {trigger}\nevents: Ir\nsummary: {total}\n"
    )


def test_counts_are_differences_per_unit(tmp_path):
    write(tmp_path, 1, "Client Request: step/a short 2", 1_000)
    write(tmp_path, 2, "Client Request: step/a long 12", 6_000)
    write(tmp_path, 3, "Program termination", 99)
    assert guard.read_counts(tmp_path) == {"step/a": 500}


def test_half_a_count_is_an_error(tmp_path):
    write(tmp_path, 1, "Client Request: step/a short 2", 1_000)
    with pytest.raises(ValueError, match="step/a: counted only short"):
        guard.read_counts(tmp_path)


def test_within_the_tolerance_is_neither():
    assert guard.compare({"a": 1000}, {"a": 1029}, 0.03) == ([], [])


def test_more_and_fewer_are_told_apart():
    worse, better = guard.compare({"a": 1000, "b": 1000}, {"a": 1040, "b": 900}, 0.03)
    assert worse == ["a: 1,040 instructions, 1,000 stored (+4.0%)"]
    assert better == ["b: 900 instructions, 1,000 stored (-10.0%)"]


def test_a_case_on_one_side_only_fails():
    worse, _ = guard.compare({"gone": 1}, {"new": 1}, 0.03)
    assert [line.partition(":")[0] for line in worse] == ["gone", "new"]


def test_update_and_check_are_required(capsys):
    with pytest.raises(SystemExit):
        guard.main([])
    assert "--check" in capsys.readouterr().err


def test_requests_are_harmless_outside_valgrind():
    """On the processor itself the sequence does nothing and returns."""
    import platform

    if platform.machine() != "x86_64":
        pytest.skip("the sequence is x86-64 code")
    valgrind = guard.Callgrind()
    valgrind.start()
    valgrind.zero()
    valgrind.dump("name")
    valgrind.stop()
