"""`Fit`: the parameters of one call of `Sequential.fit`, in one piece."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastbp.metrics import Metric
from fastbp.objectives import Objective
from fastbp.optimizers import Adam, Optimizer
from fastbp.validation import check_count, check_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What `fastbp.Sequential.fit` documents, by the same names; checked as far as that needs no data.

    >>> Fit(epochs=3).batch_size
    32
    """

    objective: Objective = Objective()
    optimizer: Optimizer = Adam()
    epochs: int = 1
    batch_size: int | None = 32
    validation_data: Sequence[Any] | None = None
    validation_split: float = 0.0
    callbacks: Any = ()
    sample_weight: ArrayLike | None = None
    class_weight: Mapping[int, float] | str | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    shuffle: bool = True
    seed: int | np.random.Generator | None = 0
    n_threads: int | None = None
    verbose: int = 1
    max_grad_norm: float | None = None
    resume_from: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        """Check every parameter that can be checked by itself; `Trainer` checks its own."""
        check_count(self.epochs, "epochs")
        if self.batch_size is not None:
            check_count(self.batch_size, "batch_size")
        check_number(self.validation_split, "validation_split", 0.0, 1.0, open_high=True)
        if self.validation_split and self.validation_data is not None:
            raise ValueError("pass validation_data or validation_split, not both")
        if self.verbose not in (0, 1, 2):
            raise ValueError(f"verbose must be 0, 1 or 2, got {self.verbose!r}")
