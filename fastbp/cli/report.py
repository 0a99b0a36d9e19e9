"""What the commands say, and the names that they and their arguments share."""

from __future__ import annotations

import sys

OPTIMIZERS = {
    "sgd": "SGD",
    "adagrad": "Adagrad",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "rprop": "Rprop",
}
"""What is typed after ``--optimizer``, and the class of `fastbp.optimizers` that it means."""


def complain(message: str) -> None:
    """Write one line to standard error, in the name of the command."""
    print("fastbp:", " ".join(message.split()), file=sys.stderr, flush=True)
