"""LossCurveDisplay: the course of a fit as a picture, in the style of scikit-learn's Display classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from sklearn.utils.validation import check_is_fitted


class LossCurveDisplay:
    """Loss of each epoch, and what the validation rows said.

    Made by `from_estimator`; the plotted objects are kept as attributes. Needs matplotlib
    (`pip install "fastbp[plot]"`).

    Parameters
    ----------
    loss_curve : sequence of float
        Training loss of each epoch.
    validation_losses : sequence of float or None, default=None
        Loss of the validation set after each epoch.
    validation_scores : sequence of float or None, default=None
        Score of early stopping after each epoch; drawn on an axis of its own at the right.
    estimator_name : str or None, default=None
        For the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        With the losses.
    figure_ : matplotlib Figure
        Of `ax_`.
    line_ : matplotlib Line2D
        Training loss.
    validation_line_ : matplotlib Line2D or None
        Loss of the validation set.
    score_ax_ : matplotlib Axes or None
        Axis of the scores.
    score_line_ : matplotlib Line2D or None
        Scores.

    Examples
    --------
    >>> display = LossCurveDisplay([1.0, 0.5, 0.25], estimator_name="net")
    >>> display.loss_curve
    [1.0, 0.5, 0.25]
    """

    __module__ = "fastbp"

    def __init__(
        self,
        loss_curve: Sequence[float],
        *,
        validation_losses: Sequence[float] | None = None,
        validation_scores: Sequence[float] | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.loss_curve = loss_curve
        self.validation_losses = validation_losses
        self.validation_scores = validation_scores
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, name: str | None = None, **kwargs: Any
    ) -> Self:
        """Plot the loss curve of a fitted estimator.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            Fitted by a stochastic solver; ours, or scikit-learn's.
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        name : str or None, default=None
            For the legend; None is the name of the class.
        **kwargs : dict
            Passed to matplotlib's `plot` for the training loss.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        NotFittedError
            Before fit.
        ValueError
            The solver was lbfgs, which keeps no curve.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "loss_curve_"):
            raise ValueError(
                f"{type(estimator).__name__} has no loss_curve_: solver={estimator.solver!r} does not keep one."
            )
        display = cls(
            estimator.loss_curve_,
            validation_losses=getattr(estimator, "validation_loss_curve_", None),
            validation_scores=estimator.validation_scores_,
            estimator_name=type(estimator).__name__,
        )
        return display.plot(ax, name=name, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None makes a figure.
        name : str or None, default=None
            For the legend; None is `estimator_name`.
        **kwargs : dict
            Passed to matplotlib's `plot` for the training loss.

        Returns
        -------
        LossCurveDisplay
            Itself.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError('LossCurveDisplay needs matplotlib: pip install "fastbp[plot]"') from error
        if ax is None:
            _, ax = plt.subplots()
        name = self.estimator_name if name is None else name
        prefix = "" if name is None else f"{name}: "
        epochs = range(1, len(self.loss_curve) + 1)
        (self.line_,) = ax.plot(epochs, self.loss_curve, **{"label": f"{prefix}training loss", **kwargs})
        self.ax_, self.figure_ = ax, ax.figure
        self.validation_line_ = self.score_ax_ = self.score_line_ = None
        lines = [self.line_]
        if self.validation_losses:
            # A warm start may have begun to validate late: the last epochs are the validated ones.
            (self.validation_line_,) = ax.plot(
                epochs[-len(self.validation_losses) :],
                self.validation_losses,
                label=f"{prefix}validation loss",
            )
            lines.append(self.validation_line_)
        if self.validation_scores:
            self.score_ax_ = ax.twinx()
            self.score_ax_.set_ylabel("Validation score")
            (self.score_line_,) = self.score_ax_.plot(
                epochs[-len(self.validation_scores) :],
                self.validation_scores,
                color="tab:green",
                linestyle="--",
                label=f"{prefix}validation score",
            )
            lines.append(self.score_line_)
        ax.set(xlabel="Epoch", ylabel="Loss")
        ax.legend(handles=lines, loc="best")
        return self
