"""skorch: scikit-learn's interface around a PyTorch module."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from skorch import NeuralNetClassifier, NeuralNetRegressor
from torch import nn

from bench.peers.torch_peers import TorchEager
from bench.peers.workloads import ADAM, MOMENTUM, Array


class Orders(torch.utils.data.Sampler[int]):
    """A DataLoader's sampler that draws the common orders, one per epoch."""

    def __init__(self) -> None:
        self.pending: list[Array] = []
        self.n_rows = 0

    def __iter__(self) -> Iterator[int]:
        """The next epoch's rows."""
        return iter(self.pending.pop(0).tolist())

    def __len__(self) -> int:
        """Rows per epoch."""
        return self.n_rows


class Skorch(TorchEager):
    """`NeuralNet.partial_fit`, the training loss measured by skorch as always, no validation split, no printing."""

    def build(self) -> None:
        """Wrap the eager peer's module."""
        super().build()
        w = self.task.workload
        self.sampler = Orders()
        self.sampler.n_rows = w.n_rows
        options = {
            "module": self.model,
            "lr": w.learning_rate,
            "batch_size": w.batch_size,
            "max_epochs": 1,
            "train_split": None,
            "iterator_train__sampler": self.sampler,
            "verbose": 0,
        }
        if w.optimizer == "adam":
            options |= {"optimizer": torch.optim.Adam, "optimizer__betas": (ADAM["beta1"], ADAM["beta2"])}
        else:
            options["optimizer"] = torch.optim.SGD
            options["optimizer__momentum"] = MOMENTUM if w.optimizer == "momentum" else 0.0
        if self.classes:
            self.net = NeuralNetClassifier(criterion=nn.CrossEntropyLoss, **options)
            self.targets = self.task.y
        else:
            self.net = NeuralNetRegressor(criterion=nn.MSELoss, **options)
            self.targets = self.task.y[:, None]

    def reset(self) -> None:
        """Initialize again (it copies the module), then the common parameters."""
        super().reset()
        self.net.initialize()
        self.linears = [module for module in self.net.module_ if isinstance(module, nn.Linear)]
        with torch.no_grad():
            for linear, weight, bias in zip(self.linears, self.task.weights, self.task.biases, strict=True):
                linear.weight.copy_(torch.from_numpy(weight.T))
                linear.bias.copy_(torch.from_numpy(bias))

    def train(self, orders: list[Array]) -> None:
        """One `partial_fit` of as many epochs."""
        self.sampler.pending = list(orders)
        self.net.partial_fit(self.task.x, self.targets, epochs=len(orders))
