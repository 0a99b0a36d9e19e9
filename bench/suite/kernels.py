"""The parts of a step: products by shape and orientation, activations, losses, update rules (from the registries)."""

import numpy as np

from . import DTYPES, QUICK, SHARE, Timed, make_engine, randn

try:
    from . import ACTIVATION_NAMES, OBJECTIVE_NAMES, RULE_NAMES
except ImportError:  # a commit from before the engine: asv shows these benchmarks as failed there
    ACTIVATION_NAMES = OBJECTIVE_NAMES = RULE_NAMES = ()


class Product(Timed):
    """x W; with the weight gradient x' delta on top; with the input gradient delta W' on top of both.

    One linear layer without bias: nothing but products (and, for the gradients, a loss over the outputs).
    """

    params = [
        ["32x64x64", "256x54x128", "200x784x100"]
        if QUICK
        else [
            "1x64x64",
            "32x20x64",
            "32x64x64",
            "32x64x1",
            "256x54x128",
            "256x64x7",
            "200x784x100",
            "512x1024x2048",
        ],
        DTYPES,
    ]
    param_names = ["rows x in x out", "dtype"]

    def setup(self, shape, dtype):
        """Layer, rows and targets."""
        from . import Engine, Layer, Objective

        n, i, o = (int(part) for part in shape.split("x"))
        self.engine = Engine(i, [Layer(o, use_bias=False)], dtype)
        self.engine.set_parameters([randn(i, o, dtype=dtype, seed=1)], [None])
        self.x, self.y = randn(n, i, dtype=dtype), randn(n, o, dtype=dtype, seed=2)
        self.objective = Objective("mse")
        self.time_forward()
        self.time_with_input_gradient()

    def time_forward(self, *_):
        """The product x W."""
        self.engine.predict(self.x)

    def time_with_weight_gradient(self, *_):
        """The products x W and x' delta."""
        self.engine.value_and_grad(self.x, self.y, self.objective)

    def time_with_input_gradient(self, *_):
        """All three orientations."""
        self.engine.value_and_grad(self.x, self.y, self.objective, inputs=True)


class Activation(Timed):
    """256 x 512 values of each activation; "identity" is what the product around them costs.

    In a network, a step of 30-256-256-256-2 with 256 rows, no activation should cost more than a tenth of the step.
    """

    params = [list(ACTIVATION_NAMES)[::SHARE], DTYPES]
    param_names = ["activation", "dtype"]

    def setup(self, activation, dtype):
        """A layer with 8 inputs, so that the activation weighs more than the product."""
        from . import Engine, Layer, Objective, Rule, Session

        self.engine = Engine(8, [Layer(512, activation)], dtype)
        self.engine.set_parameters([randn(8, 512, dtype=dtype, seed=1) / 8], [np.zeros(512, dtype)])
        self.x, self.y = randn(256, 8, dtype=dtype), np.zeros((256, 512), dtype)
        self.objective = Objective("mse")
        network = make_engine((30, 256, 256, 256, 2), activation, dtype)
        self.session = Session(network, self.objective, Rule("sgd"), batch_size=256, n_threads=1)
        self.rows = randn(256, 30, dtype=dtype), randn(256, 2, dtype=dtype, seed=1), np.arange(256)
        self.time_forward()
        self.time_gradient()
        self.time_in_a_network()

    def time_forward(self, *_):
        """a = f(z)."""
        self.engine.predict(self.x)

    def time_gradient(self, *_):
        """a = f(z), mean squared error, delta f'(z), the weight gradient."""
        self.engine.value_and_grad(self.x, self.y, self.objective)

    def time_in_a_network(self, *_):
        """Three layers of 256 units, most of whose time goes to products; a learning rate that changes little."""
        self.session.run(*self.rows, 1e-7)


class Loss(Timed):
    """1024 rows with 64 outputs through each loss; 8 inputs."""

    params = [list(OBJECTIVE_NAMES)[::SHARE], DTYPES]
    param_names = ["loss", "dtype"]

    def setup(self, loss, dtype):
        """Targets that every loss accepts: in [0, 1]; class codes for cross-entropy."""
        from . import Engine, Layer, Objective

        self.engine = Engine(8, [Layer(64)], dtype)
        self.engine.set_parameters([randn(8, 64, dtype=dtype, seed=1)], [np.zeros(64, dtype)])
        rng = np.random.default_rng(0)
        self.x = randn(1024, 8, dtype=dtype)
        codes = rng.integers(0, 64, 1024)
        self.y = codes if loss == "cross_entropy" else rng.integers(0, 2, (1024, 64)).astype(dtype)
        self.objective = Objective(loss)
        self.time_value()
        self.time_gradient()

    def time_value(self, *_):
        """The loss."""
        self.engine.loss(self.x, self.y, self.objective)

    def time_gradient(self, *_):
        """The loss, delta and the weight gradient."""
        self.engine.value_and_grad(self.x, self.y, self.objective)


class Optimizer(Timed):
    """Ten updates of 262 656 parameters by each rule, with batches so small that the update is most of it."""

    params = [list(RULE_NAMES), DTYPES]
    param_names = ["rule", "dtype"]

    def setup(self, rule, dtype):
        """One wide linear layer, batches of 2 rows."""
        from . import Engine, Layer, Objective, Rule, Session

        engine = Engine(512, [Layer(512)], dtype)
        engine.set_parameters([randn(512, 512, dtype=dtype, seed=1) / 32], [np.zeros(512, dtype)])
        self.session = Session(engine, Objective("mse"), Rule(rule), batch_size=2, n_threads=1)
        self.x, self.y = randn(20, 512, dtype=dtype), randn(20, 512, dtype=dtype, seed=2)
        self.order = np.arange(20)
        self.time_ten_steps()

    def time_ten_steps(self, *_):
        """A learning rate of 1e-6 keeps the numbers ordinary however often asv calls."""
        self.session.run(self.x, self.y, self.order, 1e-6)
