"""Pictures of descent, training, networks and searches, with matplotlib.

==========================  ==============================================================
:func:`descent_path`        gradient descent on a function of one or two variables
:func:`loss_curve`          training and validation loss by epoch or by second, many runs
:func:`loss_surface`        the loss around a trained network, with the way there
:func:`decision_boundary`   what a classifier of two features predicts, and how surely
:func:`network`             units and weights, the activations or the deltas of one sample
:func:`search`              scores of a search over its parameters, epochs of its candidates
==========================  ==============================================================

Each function draws on ``ax``, or on a new figure if it is None, and returns the Axes; nothing is
shown or saved until you do it. matplotlib is imported at the first call, not before.
Colors differ in lightness as well, and lines in marker or dash: the pictures survive a
black-and-white printer.
"""

from fastbp.plot._boundary import decision_boundary
from fastbp.plot._descent import descent_path
from fastbp.plot._history import loss_curve
from fastbp.plot._network import network
from fastbp.plot._search import search
from fastbp.plot._surface import loss_surface

__all__ = ["decision_boundary", "descent_path", "loss_curve", "loss_surface", "network", "search"]
