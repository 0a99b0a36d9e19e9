"""Training as a whole: one step and one epoch of each workload, `fit`, quality beside time, memory."""

import numpy as np

from . import DTYPES, QUICK, Benchmark, Timed, make_engine, make_run, randn, workloads

NAMES = list(workloads.WORKLOADS)
SMALL = NAMES[:4]
if QUICK:
    NAMES.remove("wide")  # most of its seconds go into making its data


class Step(Timed):
    """One batch, the cost of the call from Python included."""

    params = [NAMES, DTYPES]
    param_names = ["workload", "dtype"]

    def setup(self, name, dtype):
        """Four batches of rows; the first is used."""
        rows = 4 * max(workloads.WORKLOADS[name].batch_size, workloads.WORKLOADS[name].sizes[-1])
        self.session, self.x, self.y, orders, self.rate = make_run(name, dtype, rows=rows)
        self.order = orders[0][: workloads.WORKLOADS[name].batch_size]
        self.time_step()

    def time_step(self, *_):
        """One call with one batch."""
        self.session.run(self.x, self.y, self.order, self.rate)


class Epoch(Timed):
    """One pass over the workload's rows, in one call."""

    params = [NAMES, DTYPES]
    param_names = ["workload", "dtype"]

    def setup(self, name, dtype):
        """The rows, and a first step to load the kernels."""
        self.session, self.x, self.y, self.orders, self.rate = make_run(name, dtype)
        self.session.run(self.x, self.y, self.orders[0][:1], self.rate)

    def time_epoch(self, *_):
        """All batches of one shuffled order."""
        self.session.run(self.x, self.y, self.orders[0], self.rate)


class Text(Timed):
    """Sparse rows such as word counts, whose first layer has many weights and few entries."""

    params = [DTYPES]
    param_names = ["dtype"]

    def setup(self, dtype):
        """Rows, a session, and a first step and gradient to load the kernels."""
        from bench.peers.text import make_text

        from . import Engine, Layer, Objective, Rule, Session

        rows, words = (400, 2_000) if QUICK else (4_000, 20_000)
        self.x, self.y = make_text(rows, words, dtype)
        self.objective = Objective("cross_entropy")
        engine = Engine(words, [Layer(100, "relu"), Layer(20)], dtype)
        for weights in engine.weights:
            weights[...] = randn(*weights.shape, dtype=dtype) * 0.05
        self.session = Session(engine, self.objective, Rule("adam"), batch_size=200, n_threads=1)
        self.order = np.random.default_rng(0).permutation(rows)
        self.time_epoch()
        self.time_gradient()

    def time_epoch(self, *_):
        """All batches of one shuffled order, with Adam."""
        self.session.run(self.x, self.y, self.order, 1e-3)

    def time_gradient(self, *_):
        """The gradient of all rows: what an iteration of L-BFGS takes."""
        self.session.engine.value_and_grad(self.x, self.y, self.objective)


class Quality(Benchmark):
    """Loss after a fixed number of epochs from fixed weights: faster that learns worse must show. Lower is better."""

    params = [SMALL[1:3] if QUICK else SMALL, DTYPES]
    param_names = ["workload", "dtype"]
    unit = "loss"
    timeout = 180

    def track_loss(self, name, dtype):
        """Mean loss over the rows after three epochs."""
        session, x, y, orders, rate = make_run(name, dtype, epochs=3)
        for order in orders:
            session.run(x, y, order, rate)
        w = workloads.WORKLOADS[name]
        target = y if w.loss == "cross_entropy" else y[:, 0]
        return workloads.loss_of(w, x, target, session.engine.weights, session.engine.biases)


class Memory(Benchmark):
    """Peak memory of a process that trains one epoch, its data included."""

    params = [["mnist-sk"] if QUICK else ["online-tiny", "mnist-sk", "wide"]]
    param_names = ["workload"]
    timeout = 180

    def peakmem_epoch(self, name):
        """Interpreter, numba, data, network, workspace."""
        session, x, y, orders, rate = make_run(name, "float32")
        session.run(x, y, orders[0], rate)


class Fit(Timed):
    """`Sequential.fit` and scikit-learn's class of ours: what surrounds the kernels."""

    def setup(self):
        """tabular-small for two epochs, no progress bar."""
        import fastbp

        w = workloads.WORKLOADS["tabular-small"]
        self.x, self.y = workloads.make_data(w.sizes, w.loss, 2_000, "float32")
        self.net = fastbp.Sequential(
            [fastbp.Dense(64, "relu"), fastbp.Dense(64, "relu"), fastbp.Dense(1)], n_inputs=20, seed=0
        )
        self.estimator = fastbp.MLPRegressor(
            hidden_layer_sizes=(64, 64),
            batch_size=32,
            max_iter=2,
            n_iter_no_change=10,
            random_state=0,
            n_threads=1,
        )
        self.time_sequential()

    def time_sequential(self):
        """Two epochs of 2000 rows."""
        import fastbp

        self.net.fit(
            self.x,
            self.y[:, None],
            loss="mse",
            optimizer=fastbp.Adam(1e-3),
            epochs=2,
            batch_size=32,
            seed=0,
            n_threads=1,
            verbose=0,
        )

    def time_estimator(self):
        """The same through MLPRegressor."""
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.estimator.fit(self.x, self.y)


class OwnLoop(Timed):
    """`Trainer.step` of small networks, batches of one shape: what a call from Python adds to the kernel."""

    params = [["4-8-1", "20-64-64-1"]]
    param_names = ["network"]

    def setup(self, name):
        """Eight rows for the one, 32 for the other; a learning rate that changes next to nothing."""
        import fastbp

        n_inputs, *hidden, _ = (int(units) for units in name.split("-"))
        layers = [*(fastbp.Dense(units, "relu") for units in hidden), fastbp.Dense(1)]
        net = fastbp.Sequential(layers, n_inputs=n_inputs, seed=0)
        self.trainer = fastbp.Trainer(net, optimizer=fastbp.Adam(1e-9), n_threads=1)
        rows = 8 if len(hidden) == 1 else 32
        self.x, self.y = randn(rows, n_inputs), randn(rows, 1, seed=1)
        for _ in range(3):
            self.time_step()

    def time_step(self, *_):
        """One batch."""
        self.trainer.step(self.x, self.y)


class Outside(Timed):
    """Steps of 20-64-64-1, 32 rows, whose loss, gradient or rule is the program's; `OwnLoop` has the step itself."""

    def setup(self):
        """The rows, and trainers that change next to nothing."""
        import fastbp

        def trainer(loss="half_squared_error", optimizer=None):
            layers = [fastbp.Dense(64, "relu"), fastbp.Dense(64, "relu"), fastbp.Dense(1)]
            net = fastbp.Sequential(layers, n_inputs=20, seed=0)
            return fastbp.Trainer(net, loss, optimizer or fastbp.Adam(1e-9), n_threads=1)

        def momentum(theta, grad, state, step, rate):
            state["v"] = 0.9 * state["v"] + grad
            return theta - rate * state["v"]

        own = fastbp.Loss(lambda y, out: 0.5 * ((out - y) ** 2).sum(1), lambda y, out: out - y, "own")
        self.x, self.y = randn(32, 20), randn(32, 1, seed=1)
        self.plain, self.own = trainer(), trainer(own)
        self.ruled = trainer(optimizer=fastbp.Rule(momentum, ["v"], 1e-9))
        self.flat = np.zeros_like(self.plain.engine.theta)
        for _ in range(3):
            self.time_own_loss()
            self.time_own_rule()
            self.time_forward_and_step_from()
            self.time_gradient_and_apply()

    def time_own_loss(self):
        """A step whose loss is two functions of NumPy."""
        self.own.step(self.x, self.y)

    def time_own_rule(self):
        """A step whose rule is a function of NumPy."""
        self.ruled.step(self.x, self.y)

    def time_forward_and_step_from(self):
        """Outputs, their gradient in NumPy, the step."""
        out = self.plain.forward(self.x)
        self.plain.step_from(self.x, (out - self.y) / 32)

    def time_gradient_and_apply(self):
        """The gradient into an array of an earlier call, the update."""
        self.plain.apply(self.plain.gradient(self.x, self.y, self.flat)[1])


def half_squares():
    """Return half the squared error as two functions of a program: the loss of each row, and its slope."""
    import numba

    @numba.njit
    def value(y, out):
        values = np.zeros(len(y), y.dtype)
        for r in range(len(y)):
            for j in range(y.shape[1]):
                values[r] += (out[r, j] - y[r, j]) ** 2 / 2
        return values

    @numba.njit
    def slopes(y, out):
        return out - y

    return value, slopes


class CompiledLoss(Timed):
    """An epoch in batches of 32, and a step, whose loss is built in or two functions of the program, by Numba."""

    params = [["built-in", "compiled"], ["20-32-1", "20-64-64-1"]]
    param_names = ["loss", "network"]

    def setup(self, loss, name):
        """The rows, and a net that changes next to nothing."""
        import fastbp

        self.loss = "half_squared_error" if loss == "built-in" else fastbp.Loss(*half_squares(), "own")
        n_inputs, *hidden, _ = (int(units) for units in name.split("-"))
        layers = [*(fastbp.Dense(units, "relu") for units in hidden), fastbp.Dense(1)]
        self.net = fastbp.Sequential(layers, n_inputs=n_inputs, seed=0)
        rows = 320 if QUICK else 20_480
        self.x, self.y, self.rule = randn(rows, n_inputs), randn(rows, 1, seed=1), fastbp.Adam(1e-9)
        self.trainer = fastbp.Trainer(self.net, self.loss, self.rule, n_threads=1)
        self.batch = self.x[:32].copy(), self.y[:32].copy()
        self.time_fit()
        for _ in range(3):
            self.time_step()

    def time_fit(self, *_):
        """What a user calls."""
        self.net.fit(self.x, self.y, loss=self.loss, optimizer=self.rule, n_threads=1, verbose=0)

    def time_step(self, *_):
        """One batch by `Trainer.step`."""
        self.trainer.step(*self.batch)


class CompiledPair(Timed):
    """The two functions of `CompiledLoss` by themselves: what they cost whoever calls them."""

    params = [[1, 7]]
    param_names = ["outputs"]

    def setup(self, n_outputs):
        """A loop over the batches of an epoch, as compiled as its kernels."""
        import numba

        value, slopes = half_squares()

        @numba.njit(nogil=True, error_model="numpy")
        def all_batches(y, out, size):
            total = 0.0
            for begin in range(0, len(y), size):
                some = slice(begin, begin + size)
                total += value(y[some], out[some])[0] + slopes(y[some], out[some])[0, 0]
            return total

        rows = 320 if QUICK else 20_480
        self.y, self.out, self.all_batches = (
            randn(rows, n_outputs),
            randn(rows, n_outputs, seed=1),
            all_batches,
        )
        self.time_batches()

    def time_batches(self, *_):
        """As many batches of 32 rows as `CompiledLoss.time_fit` has."""
        self.all_batches(self.y, self.out, 32)


class Gradient(Timed):
    """`Sequential.value_and_grad` of SimpleChains' example: 24-8-2, 200 rows, float64."""

    def setup(self):
        """The rows, and the gradient that is written to."""
        import fastbp

        layers = [fastbp.Dense(8, "tanh"), fastbp.Dense(2)]
        self.net = fastbp.Sequential(layers, n_inputs=24, dtype="float64", seed=0)
        self.x, self.y = randn(200, 24, dtype="float64"), randn(200, 2, dtype="float64", seed=1)
        for _ in range(3):
            self.time_value_and_grad()
        self.gradients = self.net.value_and_grad(self.x, self.y)[1]

    def time_value_and_grad(self):
        """Into new arrays."""
        self.net.value_and_grad(self.x, self.y)

    def time_in_place(self):
        """Into those of an earlier call."""
        self.net.value_and_grad(self.x, self.y, out=self.gradients)


class SmallFit(Timed):
    """`Sequential.fit` of 20-32-1 on 100 rows: a fit is over before an epoch of a large one has begun."""

    params = [[1, 100]]
    param_names = ["epochs"]

    def setup(self, epochs):
        """The rows and the network; the first fit loads the kernels."""
        import fastbp

        self.x, self.y = randn(100, 20), randn(100, 1, seed=1)
        self.net = fastbp.Sequential([fastbp.Dense(32, "relu"), fastbp.Dense(1)], n_inputs=20, seed=0)
        self.time_fit(epochs)

    def time_fit(self, epochs):
        """Batches of 32, no progress bar."""
        self.net.fit(self.x, self.y, epochs=epochs, batch_size=32, seed=0, n_threads=1, verbose=0)


class SmallSteps(Timed):
    """Sixty-four steps of a small network in one call: mostly what a step costs besides its arithmetic."""

    params = [["4-8-1", "10-16-1", "20-32-1"], DTYPES]
    param_names = ["network", "dtype"]

    def setup(self, name, dtype):
        """Batches of 8, 16 and 32 rows, Adam with a rate that changes next to nothing."""
        from . import Objective, Rule, Session

        sizes = [int(units) for units in name.split("-")]
        batch = min(sizes[1], 32)
        engine = make_engine(sizes, "tanh", dtype)
        self.session = Session(engine, Objective("mse"), Rule("adam"), batch_size=batch, n_threads=1)
        rows = 64 * batch
        self.x, self.y = randn(rows, sizes[0], dtype=dtype), randn(rows, 1, dtype=dtype, seed=1)
        self.order = np.random.default_rng(2).permutation(rows)
        self.time_steps()

    def time_steps(self, *_):
        """One pass over the rows, shuffled."""
        self.session.run(self.x, self.y, self.order, 1e-9)


class SmallEstimator(Timed):
    """scikit-learn's classes of ours on 100 rows of 20 columns for one epoch, and `partial_fit` of one row."""

    params = [["binary", "five classes", "regressor"]]
    param_names = ["target"]

    def setup(self, target):
        """The rows, and a first fit of both kinds."""
        import warnings

        import fastbp

        warnings.simplefilter("ignore")  # of the one epoch
        self.x = randn(100, 20)
        classes = {"binary": 2, "five classes": 5}.get(target)
        kind = fastbp.MLPClassifier if classes else fastbp.MLPRegressor
        self.y = np.random.default_rng(1).integers(0, classes, 100) if classes else randn(100, seed=1)
        self.estimator, self.online = (
            kind(hidden_layer_sizes=(32,), max_iter=1, random_state=0, n_threads=1) for _ in range(2)
        )
        self.time_fit()
        self.online.fit(self.x, self.y)
        self.time_partial_fit()

    def time_fit(self, *_):
        """From the beginning."""
        self.estimator.fit(self.x, self.y)

    def time_partial_fit(self, *_):
        """One row."""
        self.online.partial_fit(self.x[:1], self.y[:1])


class Many(Timed):
    """`fit_many` on one thread: small models with their own 200 rows each, five epochs."""

    params = [["20-32-1", "10-16-1", "4-8-1"]]
    param_names = ["network"]

    def setup(self, name):
        """As many models as take about as long; a learning rate that changes next to nothing."""
        import fastbp

        inputs, units, _ = (int(size) for size in name.split("-"))
        self.batch = units
        n = 64 if units == 32 else 512
        layers = [fastbp.Dense(units, "relu"), fastbp.Dense(1)]
        self.nets = [fastbp.Sequential(layers, n_inputs=inputs, seed=i) for i in range(n)]
        self.x, self.y = randn(n, 200, inputs), randn(n, 200, 1, seed=1)
        self.net, self.optimizer = self.nets[0], fastbp.Adam(1e-9)
        self.time_list()

    def time_list(self, *_):
        """A list of models."""
        self._fit(self.nets)

    def time_stack(self, *_):
        """As many of one architecture, first weights included."""
        self._fit(self.net, n=len(self.nets))

    def _fit(self, nets, **given):
        import fastbp

        fastbp.fit_many(
            nets,
            self.x,
            self.y,
            optimizer=self.optimizer,
            epochs=5,
            batch_size=self.batch,
            n_threads=1,
            **given,
        )
