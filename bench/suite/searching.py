"""Searches over hyper-parameters: the data and the grid of `bench.peers.searching`."""

from . import DTYPES, QUICK, Timed


class Search(Timed):
    """`SearchCV` on one thread: 4 widths x 3 penalties, five folds."""

    params = [
        ["breast-cancer"] if QUICK else ["breast-cancer", "digits", "table"],
        ["halving", "full"],
        DTYPES,
    ]
    param_names = ["data", "search", "dtype"]

    def setup(self, name, kind, dtype):
        """The rows and the search, once fitted on a few rows to load the kernels."""
        import warnings

        import fastbp
        from bench.peers.searching import ETA, GRID, make_task

        warnings.simplefilter("ignore")  # of epochs that did not converge
        self.x, self.y, epochs = make_task(name, dtype)
        model = fastbp.MLPClassifier(max_iter=epochs, random_state=0)
        eta = ETA if kind == "halving" else None
        self.search = fastbp.SearchCV(model, GRID, eta=eta, refit=False, n_threads=1)
        self.search.fit(self.x[:200], self.y[:200])

    def time_search(self, *_):
        """What a user calls."""
        self.search.fit(self.x, self.y)
