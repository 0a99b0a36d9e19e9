"""Stolen time: what /proc/stat says, which runs count, how often the others are repeated."""

import os

import pytest

from bench import stolen

STAT = """cpu  38338 0 3099 20788 241 0 99 75 0 0
cpu0 19077 0 1373 10690 112 0 43 35 0 0
cpu1 19261 0 1725 10097 129 0 55 40 0 0
cpu10 1 0 1 1 1 0 5 7 0 0
intr 259414 0 0
cpu99 is not a core
"""


@pytest.fixture
def stat(tmp_path, monkeypatch):
    """A /proc/stat of three cores, of which this process may use two."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 10}, raising=False)
    path = tmp_path / "stat"
    path.write_text(STAT)
    return path


def test_ticks_of_our_own_cores(stat):
    assert stolen.ticks(stat) == {"cpu1": 40, "cpu10": 7}


def test_ticks_are_not_known_without_the_file_or_its_column(stat, tmp_path):
    assert stolen.ticks(tmp_path / "missing") is None
    stat.write_text("cpu 1 2 3\ncpu1 1 2 3 4\n")
    assert stolen.ticks(stat) is None


def test_ticks_are_not_known_on_other_systems(stat, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert stolen.ticks(stat) is None


def shares(monkeypatch, before, after, seconds):
    """What a watch says when so many seconds pass."""
    clock = iter((10.0, 10.0 + seconds))
    counts = iter((before, after))
    monkeypatch.setattr(stolen.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(stolen, "ticks", lambda: next(counts))
    monkeypatch.setattr(os, "sysconf", lambda _: 100, raising=False)
    return stolen.Watch().share()


def test_share_of_the_core_that_lost_most(monkeypatch):
    assert shares(monkeypatch, {"cpu0": 5, "cpu1": 5}, {"cpu0": 6, "cpu1": 10}, 0.5) == pytest.approx(0.1)


def test_share_is_at_most_all_of_the_time(monkeypatch):
    assert shares(monkeypatch, {"cpu0": 5}, {"cpu0": 6}, 0.001) == 1.0


def test_share_may_not_be_known(monkeypatch):
    assert shares(monkeypatch, None, None, 1.0) is None


def filled(tally, runs):
    """A tally after these runs, as long as it asks for one."""
    for value, share in runs:
        if not tally.open:
            break
        tally.add(value, share)
    return tally


def test_two_percent_count_and_more_do_not():
    tally = filled(stolen.Tally(3), [(1.0, 0.0), (2.0, 0.02), (3.0, 0.021), (4.0, 0.01), (5.0, 0.0)])
    assert tally.counted == [1.0, 2.0, 4.0]
    assert tally.shares == [0.0, 0.02, 0.01]
    assert tally.lost == [(3.0, 0.021)]
    assert not tally.open
    assert tally.trouble == ""


def test_repeating_ends_and_says_so():
    tally = filled(stolen.Tally(2), [(1.0, 0.03 + 0.01 * k) for k in range(100)])
    assert len(tally.lost) == 2 * stolen.TRIES
    assert tally.counted == []
    assert tally.trouble == ("no clean run: 3.0% to 8.0% of the time was stolen in 6 runs, at most 2% counts")


def test_a_run_of_which_nothing_is_known_counts():
    tally = filled(stolen.Tally(2), [(1.0, None)] * 5)
    assert tally.counted == [1.0, 1.0]
    assert stolen.summary(tally.shares, 0) == "Stolen time is not known."


@pytest.mark.parametrize(
    ("known", "lost", "text"),
    [
        ([], 0, ""),
        ([0.0, 0.015, None], 0, "At most 1.5% of a run that counts was stolen by the machine's host."),
        (
            [0.01],
            3,
            "At most 1.0% of a run that counts was stolen by the machine's host; 3 that lost more do not count.",
        ),
    ],
)
def test_summary(known, lost, text):
    assert stolen.summary(known, lost) == text
