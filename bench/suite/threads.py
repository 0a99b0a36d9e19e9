"""Threads: what a second core brings, and that it never costs."""

import os

from . import QUICK, Timed, make_run, workloads


class Threads(Timed):
    """An epoch by number of threads: never slower than one."""

    params = [["mnist-sk"] if QUICK else list(workloads.WORKLOADS)[1:], [1, 2]]
    param_names = ["workload", "threads"]

    def setup(self, name, threads):
        """As Epoch."""
        if len(os.sched_getaffinity(0)) < threads:
            raise NotImplementedError("fewer cores than that")
        self.session, self.x, self.y, self.orders, self.rate = make_run(name, "float32", threads)
        self.session.run(self.x, self.y, self.orders[0][:1], self.rate)

    def time_epoch(self, *_):
        """All batches of one shuffled order."""
        self.session.run(self.x, self.y, self.orders[0], self.rate)
