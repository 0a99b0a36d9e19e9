"""What the page of `fastbp playground` computes for one picture; the drawing is the browser's."""

from . import Timed


class Picture(Timed):
    """One epoch of the network that the page opens with, and what is drawn of it."""

    def setup(self):
        """A learner that has begun."""
        try:
            from fastbp.playground.learner import Learner
        except ImportError as error:  # an earlier commit
            raise NotImplementedError from error
        self.learner = Learner()
        self.time_picture()

    def time_picture(self):
        """Train one epoch, note the losses, and predict the planes."""
        self.learner.steps = 0  # or it would end after some thousand epochs
        self.learner.run(1, 60.0)
        self.learner.boundary(), self.learner.hidden(), self.learner.accuracy()
