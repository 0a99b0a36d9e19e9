"""Searches as peers: the same work, and what they found told along with their rates."""

import numpy as np
import pytest

from bench import stolen
from bench.peers import conductor, searching, worker
from bench.peers.registry import SUITES
from bench.peers.subject import Case

CASE = Case("search", "breast-cancer", 1, "float64", quick=True)


def test_all_of_the_grid_has_the_same_scores():
    """SearchCV and GridSearchCV with our class exactly, scikit-learn's class to rounding."""
    found = {}
    for kind in (searching.FastbpFull, searching.OurGrid, searching.TheirGrid):
        peer = kind(CASE)
        peer.run(1)
        found[kind] = peer.told()["0"]["scores"]
        assert len(found[kind]) == len(searching.CANDIDATES) == 12
    ours, grid, theirs = found.values()
    assert ours == grid
    np.testing.assert_allclose(ours, theirs, rtol=0.01)


@pytest.mark.parametrize("kind", [searching.Fastbp, searching.FastbpFloat32, searching.OurHalving])
def test_halving_tells_its_pick(kind):
    peer = kind(CASE)
    assert peer.check() == [peer.told()["0"]["score"]]
    peer.run(2)
    assert list(peer.told()) == ["0", "1"]
    for found in peer.told().values():
        assert 0.8 < found["score"] <= 1
        assert found["picked"] in range(12)
        assert "scores" not in found


def test_data_of_every_case():
    for name, classes in (("digits", 10), ("breast-cancer", 2), ("table", 3)):
        x, y, epochs = searching.make_task(name, "float32", quick=True)
        assert x.dtype == np.float32 and x.flags.c_contiguous
        assert len(x) == len(y) == 300
        assert len(set(y)) == classes and epochs > 1
    assert SUITES["search"].cases == tuple(searching.EPOCHS)


class Telling:
    """A subject that counts its runs."""

    work = 1.0

    def __init__(self):
        self.count = 0

    def reset(self):
        pass

    def run(self, times):
        self.count += times

    def told(self):
        return {"count": self.count}


def test_what_a_subject_tells_is_kept():
    subject = Telling()

    class Direct:
        """A worker in this process."""

        def run(self, times):
            return worker.measure(subject, times)

    turns = conductor.Turns(Direct(), 3, stolen.Tally(2, limit=1.0))
    while turns.more:
        assert turns.take() == ""
    assert turns.told == {"count": 6}
