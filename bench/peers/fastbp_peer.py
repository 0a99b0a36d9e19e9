"""fastbp: the loop of `Sequential.fit` without its callbacks, one `Session.run` per epoch."""

from __future__ import annotations

import fastbp
from bench.peers.subject import Training
from bench.peers.workloads import ADAM, MOMENTUM, Array
from fastbp.engine.session import Session
from fastbp.objectives import Objective
from fastbp.optimizers import Rule


class Fastbp(Training):
    """`Sequential` and `Session`: what `fit` runs for each epoch."""

    def build(self) -> None:
        """Make the network; kernels come from the on-disk cache or are compiled by the first epoch."""
        w = self.task.workload
        hidden = [fastbp.Dense(units, w.activation) for units in w.sizes[1:-1]]
        self.net = fastbp.Sequential(
            [*hidden, fastbp.Dense(w.sizes[-1])], n_inputs=w.sizes[0], dtype=self.task.dtype, seed=0
        )
        self.objective = Objective(w.loss)
        self.rule = Rule("adam", **ADAM) if w.optimizer == "adam" else Rule("sgd")
        if w.optimizer == "momentum":
            self.rule = Rule("sgd", momentum=MOMENTUM)
        self.y = self.task.y if w.loss == "cross_entropy" else self.task.y[:, None]

    def reset(self) -> None:
        """Initial parameters and a new session."""
        self.net.set_weights(self.task.weights, self.task.biases)
        w = self.task.workload
        self.session = Session(
            self.net.engine, self.objective, self.rule, batch_size=w.batch_size, n_threads=self.task.threads
        )

    def train(self, orders: list[Array]) -> None:
        """One call per epoch."""
        for order in orders:
            self.session.run(self.task.x, self.y, order, self.task.workload.learning_rate)

    def parameters(self) -> tuple[list[Array], list[Array]]:
        """The network's own arrays."""
        return self.net.weights, self.net.biases
