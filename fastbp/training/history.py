"""`History`: what a training logged."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

__all__ = ["History"]


class Recorded(NamedTuple):
    """What many models that were trained together have logged, without validation.

    `loss` is (models, epochs), `learning_rate` (epochs, models), and `seconds` has a number per epoch.
    """

    loss: NDArray[Any]
    learning_rate: NDArray[Any]
    seconds: list[float]

    def logs(self, place: int) -> dict[str, list[float]]:
        """Return the logs of one model: lists of its own."""
        return {
            "loss": self.loss[place].tolist(),
            "val_loss": [],
            "epoch_seconds": self.seconds.copy(),
            "learning_rate": self.learning_rate[:, place].tolist(),
        }


class History:
    """What was logged, one number per epoch: ``history.loss``, ``history.val_loss``, ``history["accuracy"]``.

    Parameters
    ----------
    logs : dict of str to list of float
        By name; the names are those of the ``logs`` of the callbacks.

    Attributes
    ----------
    loss : list of float
        Mean loss of the rows of each epoch, weighted if they have weights, while the network changed; penalties
        included.
    val_loss : list of float
        Loss on the validation data after each epoch; empty without them.
    epoch_seconds, learning_rate : list of float
        Duration of the epoch (with validation, without callbacks), and rate of its last batch.
    error : DivergenceError or None
        Why `fastbp.fit_many` gave the model the weights back that it had before.

    >>> history = History({"loss": [2.0, 1.0], "accuracy": [0.5, 0.75]})
    >>> len(history), history.loss, history.val_loss, history.accuracy
    (2, [2.0, 1.0], [], [0.5, 0.75])
    """

    __module__ = "fastbp"

    error: Exception | None = None
    _recorded: Recorded
    _place: int

    def __init__(self, logs: Mapping[str, list[float]] | None = None) -> None:
        self.logs = {name: list(values) for name, values in (logs or {}).items()}
        for name in ("loss", "val_loss", "epoch_seconds", "learning_rate"):
            self.logs.setdefault(name, [])

    @classmethod
    def of(cls, recorded: Recorded, place: int) -> History:
        """Return the history of one of many models; its lists are made when somebody asks for them."""
        history = cls.__new__(cls)
        history._recorded, history._place = recorded, place
        return history

    def __getstate__(self) -> dict[str, Any]:
        """Return the lists, and not what all of the models have recorded."""
        state = {name: value for name, value in self.__dict__.items() if name not in ("_recorded", "_place")}
        return {**state, "logs": self.logs}

    @functools.cached_property
    def logs(self) -> dict[str, list[float]]:
        """All series by name."""
        return self._recorded.logs(self._place)

    @property
    def loss(self) -> list[float]:
        """Mean training loss of each epoch."""
        return self.logs["loss"]

    @property
    def val_loss(self) -> list[float]:
        """Validation loss after each epoch."""
        return self.logs["val_loss"]

    @property
    def epoch_seconds(self) -> list[float]:
        """Duration of each epoch."""
        return self.logs["epoch_seconds"]

    def __getattr__(self, name: str) -> list[float]:
        """Return the series of that name (metrics)."""
        if name in ("logs", "_recorded"):  # of an object that is being unpickled
            raise AttributeError(name)
        if name in self.logs:
            return self.logs[name]
        raise AttributeError(f"the history has no {name!r}; it has {', '.join(self.logs)}")

    def __getitem__(self, name: str) -> list[float]:
        """Return the series of that name."""
        return self.logs[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a series."""
        return name in self.logs

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.loss)

    def __iter__(self) -> Iterator[dict[str, float]]:
        """Yield the numbers of each epoch as a dict: ``pandas.DataFrame(history)`` has a row per epoch."""
        for epoch in range(len(self)):
            yield {name: values[epoch] for name, values in self.logs.items() if epoch < len(values)}

    def __repr__(self) -> str:
        """Return the number of epochs and the last numbers."""
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.logs.items() if values)
        return f"<History: {len(self)} epochs; {last}>"

    def append(self, logs: Mapping[str, float]) -> None:
        """Add the numbers of one epoch."""
        for name, value in logs.items():
            self.logs.setdefault(name, []).append(value)
