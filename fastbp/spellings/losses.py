"""The losses in other libraries: a row for each, in PyTorch, Keras and scikit-learn.

`sklearn` is the estimators' `loss`, if it is the mean over rows and outputs; scikit-learn's squared error and Poisson
loss are put together otherwise. Keras' cross entropies by name take probabilities: what they take with from_logits=True
is what ours take, and a model of ours ends with logits.
"""

from __future__ import annotations

from fastbp.spellings.names import Call, Names, Spelling

__all__ = ["LOSSES", "NAMES"]

LOSSES: dict[str, Spelling] = {
    "binary_cross_entropy": Spelling(
        torch=Call("BCEWithLogitsLoss"),
        keras=Call("binary_crossentropy", {"from_logits": True}),
        synonyms=("bce", "binary_cross_entropy_with_logits"),
    ),
    "cross_entropy": Spelling(
        torch=Call("CrossEntropyLoss"),
        keras=Call("categorical_crossentropy", {"from_logits": True}),
        synonyms=("sparse_categorical_crossentropy", "log_loss"),
    ),
    "half_squared_error": Spelling(),
    "huber": Spelling(torch=Call("HuberLoss"), keras=Call("huber"), sklearn="huber"),
    "log_cosh": Spelling(keras=Call("log_cosh")),
    "mae": Spelling(
        torch=Call("L1Loss"),
        keras=Call("mean_absolute_error"),
        sklearn="absolute_error",
    ),
    "mse": Spelling(torch=Call("MSELoss"), keras=Call("mean_squared_error")),
    "poisson": Spelling(torch=Call("PoissonNLLLoss", {"log_input": True, "full": False})),
    "quantile": Spelling(sklearn="quantile", synonyms=("pinball", "pinball_loss", "mean_pinball_loss")),
}

NAMES = Names(
    LOSSES,
    {
        "squared_error": "'mse' is the mean over the outputs, 'half_squared_error' half of their sum",
        "l2_loss": "'mse' is the mean over the outputs, 'half_squared_error' half of their sum",
        "smooth_l1_loss": "with beta=1 it is 'huber', else 'huber(beta)' divided by beta",
        "bce_loss": "'binary_cross_entropy' takes logits: leave out the sigmoid before it",
        "nll_loss": "'cross_entropy' takes logits: leave out the log-softmax before it",
        "rmse": "it is least where 'mse' is",
        "root_mean_squared_error": "it is least where 'mse' is",
        # They would pass for slips.
        "mape": "",
        "mase": "",
        "msle": "",
        "mspe": "",
        "smape": "",
    },
)
