"""PyTorch in the ways its users train: eager, fused optimizer, one compiled step, and by hand without autograd."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from bench.peers.subject import Training
from bench.peers.workloads import ADAM, MOMENTUM, Array


class TorchEager(Training):
    """`nn.Sequential`, `zero_grad`, `backward`, `step`: the loop of every PyTorch tutorial."""

    optimizer_options: dict[str, bool] = {}

    def build(self) -> None:
        """Threads, tensors, modules."""
        torch.set_num_threads(self.task.threads)
        w = self.task.workload
        self.dtype = torch.float64 if self.task.dtype == "float64" else torch.float32
        self.x, self.y = torch.from_numpy(self.task.x), torch.from_numpy(self.task.y)
        self.classes = w.loss == "cross_entropy"
        activation = nn.ReLU if w.activation == "relu" else nn.Tanh
        modules: list[nn.Module] = []
        for i, o in pairwise(w.sizes):
            modules += [nn.Linear(i, o, dtype=self.dtype), activation()]
        self.model = nn.Sequential(*modules[:-1])
        self.linears = [module for module in self.model if isinstance(module, nn.Linear)]

    def reset(self) -> None:
        """Initial parameters, a new optimizer."""
        with torch.no_grad():
            for linear, weight, bias in zip(self.linears, self.task.weights, self.task.biases, strict=True):
                linear.weight.copy_(torch.from_numpy(weight.T))
                linear.bias.copy_(torch.from_numpy(bias))
        self.model.zero_grad(set_to_none=True)
        self.optimizer = self.make_optimizer()

    def make_optimizer(self) -> torch.optim.Optimizer:
        """torch.optim's class for the workload."""
        w, parameters = self.task.workload, self.model.parameters()
        if w.optimizer == "adam":
            return torch.optim.Adam(
                parameters,
                lr=w.learning_rate,
                betas=(ADAM["beta1"], ADAM["beta2"]),
                eps=ADAM["eps"],
                **self.optimizer_options,
            )
        momentum = MOMENTUM if w.optimizer == "momentum" else 0.0
        return torch.optim.SGD(parameters, lr=w.learning_rate, momentum=momentum, **self.optimizer_options)

    def loss(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The workload's loss of one batch."""
        return functional.cross_entropy(z, y) if self.classes else functional.mse_loss(z.squeeze(1), y)

    def train(self, orders: list[Array]) -> None:
        """The tutorial loop."""
        n = self.task.workload.batch_size
        model, optimizer, x, y = self.model, self.optimizer, self.x, self.y
        for order in orders:
            for index in torch.from_numpy(order).split(n):
                optimizer.zero_grad(set_to_none=True)
                self.loss(model(x[index]), y[index]).backward()
                optimizer.step()

    def parameters(self) -> tuple[list[Array], list[Array]]:
        """Linear layers keep (out, in): transposed here."""
        return (
            [linear.weight.detach().numpy().T for linear in self.linears],
            [linear.bias.detach().numpy() for linear in self.linears],
        )


class TorchFused(TorchEager):
    """The same loop with the optimizer's one-kernel update."""

    optimizer_options = {"fused": True}


class TorchCompile(TorchEager):
    """Gradient and update as one graph under `torch.compile`, the parameters updated in place."""

    def build(self) -> None:
        """Parameters and state as plain tensors; the graph is compiled by the first batch."""
        super().build()
        flat = [*self.task.weights, *self.task.biases]
        self.theta = [torch.from_numpy(value.copy()) for value in flat]
        self.m = [torch.zeros_like(p) for p in self.theta]
        self.v = [torch.zeros_like(p) for p in self.theta]
        self.t = torch.zeros((), dtype=self.dtype)
        self.step = torch.compile(self._step, fullgraph=True, dynamic=False)

    def reset(self) -> None:
        """In place, so that nothing is compiled again."""
        for p, value in zip(self.theta, (*self.task.weights, *self.task.biases), strict=True):
            p.copy_(torch.from_numpy(value))
        for state in (*self.m, *self.v, self.t):
            state.zero_()

    def _objective(self, theta: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        depth = len(theta) // 2
        a = x
        for level in range(depth):
            a = torch.addmm(theta[depth + level], a, theta[level])
            if level < depth - 1:
                a = torch.relu(a) if self.task.workload.activation == "relu" else torch.tanh(a)
        return self.loss(a, y)

    def _step(
        self,
        theta: list[torch.Tensor],
        m: list[torch.Tensor],
        v: list[torch.Tensor],
        t: torch.Tensor,
        x: torch.Tensor,
        y: torch.Tensor,
        index: torch.Tensor,
    ) -> None:
        w = self.task.workload
        grads = torch.func.grad(self._objective)(theta, x[index], y[index])
        if w.optimizer == "adam":
            beta1, beta2 = ADAM["beta1"], ADAM["beta2"]
            t.add_(1)
            step, correction = w.learning_rate / (1 - beta1**t), 1 / (1 - beta2**t)
            for p, g, mean, square in zip(theta, grads, m, v, strict=True):
                mean.mul_(beta1).add_(g, alpha=1 - beta1)
                square.mul_(beta2).add_(g * g, alpha=1 - beta2)
                p.sub_(step * mean / ((square * correction).sqrt() + ADAM["eps"]))
        elif w.optimizer == "momentum":
            for p, g, mean in zip(theta, grads, m, strict=True):
                mean.mul_(MOMENTUM).add_(g)
                p.sub_(w.learning_rate * mean)
        else:
            for p, g in zip(theta, grads, strict=True):
                p.sub_(w.learning_rate * g)

    def train(self, orders: list[Array]) -> None:
        """One call of the compiled step per batch."""
        n = self.task.workload.batch_size
        with torch.no_grad():
            for order in orders:
                for index in torch.from_numpy(order).split(n):
                    self.step(self.theta, self.m, self.v, self.t, self.x, self.y, index)

    def parameters(self) -> tuple[list[Array], list[Array]]:
        """Already (in, out)."""
        depth = len(self.task.weights)
        values = [p.numpy() for p in self.theta]
        return values[:depth], values[depth:]


class TorchHand(TorchCompile):
    """Gradients written out by hand with `addmm` and in-place operations: no autograd at all."""

    def build(self) -> None:
        """The same plain tensors as the compiled step, never compiled; one flat vector for the optimizer."""
        super().build()
        size = sum(p.numel() for p in self.theta)
        self.flat, self.grad = torch.zeros(2, size, dtype=self.dtype)
        self.mean, self.square = torch.zeros(2, size, dtype=self.dtype)
        self.theta, self.d = self._views(self.flat), self._views(self.grad)
        self.batches = 0

    def _views(self, flat: torch.Tensor) -> list[torch.Tensor]:
        parts = flat.split([p.numel() for p in self.theta])
        return [part.view_as(p) for part, p in zip(parts, self.theta, strict=True)]

    def reset(self) -> None:
        """In place."""
        super().reset()
        self.mean.zero_()
        self.square.zero_()
        self.batches = 0

    def train(self, orders: list[Array]) -> None:
        """Forward, backward, update, by hand."""
        n = self.task.workload.batch_size
        with torch.inference_mode():
            for order in orders:
                for index in torch.from_numpy(order).split(n):
                    self._gradient(self.x[index], self.y[index])
                    self._update()

    def _gradient(self, x: torch.Tensor, y: torch.Tensor) -> None:
        depth, relu = len(self.task.weights), self.task.workload.activation == "relu"
        a = [x]
        for level in range(depth):
            z = torch.addmm(self.theta[depth + level], a[-1], self.theta[level])
            if level < depth - 1:
                z = z.relu_() if relu else z.tanh_()
            a.append(z)
        delta = a.pop()
        if self.classes:
            delta = delta.softmax(1)
            delta[torch.arange(len(y)), y] -= 1
            delta.div_(len(y))
        else:
            delta.sub_(y[:, None]).mul_(2 / len(y))
        for level in range(depth - 1, -1, -1):
            torch.mm(a[level].t(), delta, out=self.d[level])
            torch.sum(delta, 0, out=self.d[depth + level])
            if level:
                below = torch.mm(delta, self.theta[level].t())
                delta = below.mul_(a[level] > 0) if relu else below.mul_(1 - a[level] * a[level])

    def _update(self) -> None:
        w = self.task.workload
        if w.optimizer == "adam":
            self.batches += 1
            beta1, beta2 = ADAM["beta1"], ADAM["beta2"]
            self.mean.lerp_(self.grad, 1 - beta1)
            self.square.mul_(beta2).addcmul_(self.grad, self.grad, value=1 - beta2)
            denominator = (self.square / (1 - beta2**self.batches)).sqrt_().add_(ADAM["eps"])
            self.flat.addcdiv_(self.mean, denominator, value=-w.learning_rate / (1 - beta1**self.batches))
        elif w.optimizer == "momentum":
            self.mean.mul_(MOMENTUM).add_(self.grad)
            self.flat.add_(self.mean, alpha=-w.learning_rate)
        else:
            self.flat.add_(self.grad, alpha=-w.learning_rate)
