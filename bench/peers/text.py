"""Sparse rows such as the word counts of texts: fastbp's MLPClassifier against scikit-learn's, Adam and L-BFGS."""

from __future__ import annotations

import importlib

import numpy as np
import scipy.sparse

from bench.peers.classes import Estimator
from bench.peers.subject import Case
from bench.peers.workloads import Array

ENTRIES = 70


def make_text(n_rows: int, n_words: int, dtype: str, seed: int = 0) -> tuple[scipy.sparse.csr_array, Array]:
    """Return rows of length 1, with some 65 entries in 50,000 columns, and one of 20 classes for each.

    As in a text a few words are frequent and most are rare: word k is drawn about 1 / k times as often as the first.
    """
    rng = np.random.default_rng(seed)
    y = rng.integers(20, size=n_rows)
    words = np.floor(n_words ** rng.random((n_rows, ENTRIES))).astype(np.int64) - 1
    # A few words of each row tell of its class.
    words[:, :5] = (997 * y[:, None] + words[:, :5] % 50) % n_words
    rows = np.repeat(np.arange(n_rows), ENTRIES)
    counts = scipy.sparse.coo_array((np.ones(rows.size), (rows, words.ravel())), (n_rows, n_words)).tocsr()
    lengths = np.sqrt(counts.multiply(counts).sum(axis=1))
    counts.data /= np.repeat(lengths, np.diff(counts.indptr))
    return counts.astype(dtype), y


class Text(Estimator):
    """One `fit` of the module's class; the losses of its first epochs or iterations must be scikit-learn's."""

    def __init__(self, case: Case) -> None:
        self.x, self.y = make_text(*((400, 500) if case.quick else (20_000, 50_000)), case.dtype)
        self.work = float(self.x.shape[0])
        self.model = importlib.import_module(self.module).MLPClassifier(
            hidden_layer_sizes=(100,),
            solver=case.name,
            batch_size=200,
            tol=0.0,
            n_iter_no_change=1_000_000_000,
            random_state=0,
            **self.options,
        )

    def check(self) -> list[float]:
        """The loss after a few of them."""
        self.run(self.check_runs)
        return [float(self.model.loss_)]


class Ours(Text):
    """fastbp's class."""

    module = "fastbp"

    def __init__(self, case: Case) -> None:
        self.options = {"n_threads": case.threads}
        super().__init__(case)


class Theirs(Text):
    """scikit-learn's class."""

    module = "sklearn.neural_network"
