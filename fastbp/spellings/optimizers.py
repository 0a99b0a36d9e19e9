"""The optimizers in other libraries: a row for each, in PyTorch, Keras and scikit-learn.

`torch` is the same step by step, defaults included. Keras' optimizers of the same names differ in a default or in where
a constant is added, and `sklearn` stands for the formula of scikit-learn's solver: the classes in fastbp/optimizers.py
say how.
"""

from __future__ import annotations

from fastbp.spellings.names import Call, Names, Spelling

__all__ = ["NAMES", "OPTIMIZERS"]

OPTIMIZERS: dict[str, Spelling] = {
    "adagrad": Spelling(torch=Call("Adagrad"), keras=Call("Adagrad")),
    "adam": Spelling(torch=Call("Adam"), keras=Call("Adam"), sklearn="adam"),
    "adamw": Spelling(torch=Call("AdamW"), keras=Call("AdamW")),
    "nadam": Spelling(torch=Call("NAdam"), keras=Call("Nadam")),
    "rmsprop": Spelling(torch=Call("RMSprop"), keras=Call("RMSprop")),
    "rprop": Spelling(torch=Call("Rprop")),
    "sgd": Spelling(torch=Call("SGD"), keras=Call("SGD"), sklearn="sgd"),
}

NAMES = Names(
    OPTIMIZERS,
    {
        "momentum": "write SGD(learning_rate, momentum=0.9)",
        "nesterov": "write SGD(learning_rate, momentum=0.9, nesterov=True)",
        "lbfgs": "MLPClassifier and MLPRegressor have solver='lbfgs'",
        # They would pass for slips.
        "adamp": "",
        "adan": "",
        "asgd": "",
        "nadamw": "",
        "radam": "",
        "sgdp": "",
        "sgdw": "",
    },
)
