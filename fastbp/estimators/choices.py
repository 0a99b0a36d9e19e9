"""Parameters that are one of several names: what the estimators call them, and which other spellings they take.

A parameter is kept as it was given, as scikit-learn's `clone` wants it, and read through `Choice`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sklearn.utils._param_validation import StrOptions

from fastbp import reference
from fastbp.spellings import Names, Spelling, activations, losses, optimizers
from fastbp.spellings.names import plain, with_names

__all__ = ["ACTIVATION", "LOSS", "SKLEARN", "SOLVER", "Choice", "beyond_sklearn", "lists_names"]


class Choice(StrOptions):  # type: ignore[misc]
    """scikit-learn's check that a parameter is one of several names; spellings of other libraries pass, too.

    Parameters
    ----------
    names : Names
        What a spelling means.
    options : mapping of str to str
        The names that this parameter has, and ours of the same entry; "" if we have none that is the same.
    advice : mapping of str to str
        What an error says of names that are no options, by our name.

    >>> SOLVER.find("RMSprop"), ACTIVATION.find("sigmoid"), ACTIVATION.ours("sigmoid"), ACTIVATION.find("exp")
    ('rmsprop', 'logistic', 'sigmoid', None)
    """

    def __init__(self, names: Names, options: Mapping[str, str], advice: Mapping[str, str]) -> None:
        super().__init__(options.keys())
        self._names, self._ours, self._advice = names, options, advice
        self._of_ours = {ours: option for option, ours in options.items() if ours}
        self._of_plain = {plain(option): option for option in options}

    def find(self, value: object) -> str | None:
        """Return the option that a value means, None if it means none."""
        if not isinstance(value, str):
            return None
        if value in self._ours:
            return value
        return self._of_plain.get(plain(value)) or self._of_ours.get(self._names.find(value) or "")

    def ours(self, value: str) -> str:
        """Return our name of what a value means; what stands for itself, and what means no option, stays as it is."""
        option = self.find(value) or value
        return self._ours.get(option) or option

    def is_satisfied_by(self, val: object) -> bool:
        """Whether a value means one of the options; scikit-learn asks this."""
        return self.find(val) is not None

    def advice(self, value: object) -> str:
        """Return what an error says of a value that means none of the options, with what leads to it."""
        if not isinstance(value, str) or self.find(value) is not None:
            return ""
        word = self._names.find(value) or value
        if word in self._advice:
            return f": {self._advice[word]}"
        return self._names.advice(value, {ours or option: option for option, ours in self._ours.items()})


def _options(rows: Mapping[str, Spelling], without: Collection[str] = ()) -> dict[str, str]:
    """Return our names by scikit-learn's, or by themselves if it has none; scikit-learn's first."""
    kept = {name: row for name, row in rows.items() if name not in without}
    return {row.sklearn: name for name, row in kept.items() if row.sklearn} | {
        name: name for name, row in kept.items() if not row.sklearn
    }


ACTIVATION = Choice(
    activations.NAMES,
    _options(activations.ACTIVATIONS, without=("exp",)),
    {
        "exp": "it is the output of MLPRegressor(loss='poisson')",
        "softmax": "it is the output of MLPClassifier, which has it by itself",
    },
)

SOLVER = Choice(optimizers.NAMES, {"lbfgs": "", **_options(optimizers.OPTIMIZERS)}, {})

_SQUARED = "'squared_error' is scikit-learn's, half of the square"
_CLASSES = "classes are for MLPClassifier"

# The first two are put together as scikit-learn does it, see regressor.py. What is no loss of numbers is left out.
LOSS = Choice(
    losses.NAMES,
    {
        "squared_error": "",
        "poisson": "",
        **_options(
            losses.LOSSES,
            without=(
                "mse",
                "half_squared_error",
                *(name for name, loss in reference.LOSSES.items() if loss.activation != "identity"),
            ),
        ),
    },
    {
        "mse": _SQUARED,
        "half_squared_error": _SQUARED,
        "cross_entropy": _CLASSES,
        "binary_cross_entropy": _CLASSES,
    },
)

SKLEARN = {
    "activation": tuple(row.sklearn for row in activations.ACTIVATIONS.values() if row.sklearn),
    "solver": ("lbfgs", *(row.sklearn for row in optimizers.OPTIMIZERS.values() if row.sklearn)),
    "loss": ("squared_error", "poisson"),
}


def beyond_sklearn(parameter: str) -> list[str]:
    """Return the options that scikit-learn's class does not have.

    >>> "adamw" in beyond_sklearn("solver"), "adam" in beyond_sklearn("solver")
    (True, False)
    """
    choice = {"activation": ACTIVATION, "solver": SOLVER, "loss": LOSS}[parameter]
    return [option for option in choice.options if option not in SKLEARN[parameter]]


def lists_names(kind: type[Any]) -> type[Any]:
    """Write the options beyond scikit-learn's into the docstring of an estimator."""
    kind.__doc__ = with_names(kind.__doc__, {parameter: beyond_sklearn(parameter) for parameter in SKLEARN})
    return kind
