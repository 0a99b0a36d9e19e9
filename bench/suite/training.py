"""Training as a whole: one step and one epoch of each workload, `fit`, quality beside time, memory."""

from . import DTYPES, QUICK, Benchmark, Timed, make_run, randn, workloads

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
        import numpy as np

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
