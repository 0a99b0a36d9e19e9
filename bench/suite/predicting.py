"""Prediction: one row from Python, one row from compiled code, many rows; and what a call costs by itself."""

from . import DTYPES, QUICK, Timed, make_engine, randn


class OneRow(Timed):
    """One row through 20-64-64-1, by `Sequential.predict`."""

    params = [DTYPES]
    param_names = ["dtype"]

    def setup(self, dtype):
        """The network."""
        import fastbp

        layers = [fastbp.Dense(64, "relu"), fastbp.Dense(64, "relu"), fastbp.Dense(1)]
        self.net = fastbp.Sequential(layers, n_inputs=20, dtype=dtype, seed=0)
        self.x = randn(1, 20, dtype=dtype)
        self.net.predict(self.x)

    def time_predict(self, _):
        """One call."""
        self.net.predict(self.x)


class LargeOneRow(Timed):
    """One row through a large network of `MLPRegressor`, whose weights are plain arrays that a user may change."""

    params = [["784-2048-2048-10"] if QUICK else ["784-2048-2048-10", "1048576-16-1, sparse"]]
    param_names = ["network"]

    def setup(self, name):
        """A fit of no account; the sparse row has 100 entries."""
        import warnings

        import scipy.sparse

        import fastbp

        warnings.simplefilter("ignore")  # of the one epoch
        sizes = [int(units) for units in name.partition(",")[0].split("-")]
        net = fastbp.MLPRegressor(hidden_layer_sizes=sizes[1:-1], max_iter=1, random_state=0, n_threads=1)
        x = randn(2, sizes[0]) if "sparse" not in name else None
        if x is None:
            x = scipy.sparse.random(
                2, sizes[0], 100 / sizes[0], format="csr", dtype="float32", random_state=0
            )
        self.net, self.x = net.fit(x, randn(2, sizes[-1], seed=1)), x[:1]
        self.time_predict()

    def time_predict(self, *_):
        """One call."""
        self.net.predict(self.x)


class Rows(Timed):
    """Many rows at once, by the engine."""

    params = [["784-100-10", "20-64-64-1"], [1_000] if QUICK else [100, 10_000, 100_000], DTYPES]
    param_names = ["network", "rows", "dtype"]

    def setup(self, network, rows, dtype):
        """The network and its rows."""
        sizes = [int(size) for size in network.split("-")]
        self.engine = make_engine(sizes, "relu", dtype)
        self.x = randn(rows, sizes[0], dtype=dtype)
        self.engine.predict(self.x[:1])

    def time_predict(self, *_):
        """One call."""
        self.engine.predict(self.x, n_threads=1)


class Compiled(Timed):
    """A thousand rows through 20-64-64-1 inside the user's own compiled loop."""

    def setup(self):
        """Compile the loop."""
        import numba

        import fastbp
        import fastbp.kernels

        layers = [fastbp.Dense(64, "relu"), fastbp.Dense(64, "relu"), fastbp.Dense(1)]
        predict_one = fastbp.kernels.predict_one

        @numba.njit
        def loop(state, row, out):
            for _ in range(1000):
                predict_one(state, row, out)

        self.loop = loop
        self.state = fastbp.Sequential(layers, n_inputs=20, seed=0).compiled()
        self.row, self.out = randn(20), randn(1)
        self.time_thousand_rows()

    def time_thousand_rows(self):
        """The loop."""
        self.loop(self.state, self.row, self.out)


class Dispatch(Timed):
    """Calls that do next to no arithmetic: what a call from Python costs by itself."""

    def setup(self):
        """A network of one weight."""
        import numpy as np

        from . import Engine, Layer, Objective, Rule, Session

        self.engine = Engine(1, [Layer(1)], "float32")
        self.x, self.y, self.order = randn(1, 1), randn(1, 1, seed=1), np.zeros(1, np.int64)
        self.objective = Objective("mse")
        self.session = Session(self.engine, self.objective, Rule("sgd"), batch_size=1, n_threads=1)
        self.time_predict()
        self.time_value_and_grad()
        self.time_step()

    def time_predict(self):
        """One row, one weight."""
        self.engine.predict(self.x)

    def time_value_and_grad(self):
        """Its gradient."""
        self.engine.value_and_grad(self.x, self.y, self.objective)

    def time_step(self):
        """Its update."""
        self.session.run(self.x, self.y, self.order, 1e-9)
