"""The loop over epochs, the trainer for the user's own loops, and what they leave behind.

Who is who in a training:

========  ==============  =============================================================================================
Session   engine          batches through the kernels, and the optimizer's state; knows nothing of epochs
Trainer   training        one optimizer at work on one model: a session, and the learning rate of its next step
Loop      training        the epochs: order of the rows, chunks, validation, logs, callbacks; for `Sequential`, the
                          estimators and L-BFGS
Run       callbacks       what the callbacks see of a loop, and may change: epoch, logs, learning rate
Fit       training        the parameters of one call of `Sequential.fit`, frozen
History   training        what a fit has logged, for the user to keep
========  ==============  =============================================================================================
"""

from __future__ import annotations

from fastbp.training.evaluation import evaluate
from fastbp.training.fitting import fit
from fastbp.training.history import History
from fastbp.training.settings import Fit
from fastbp.training.trainer import Trainer

__all__ = ["Fit", "History", "Trainer", "evaluate", "fit"]
