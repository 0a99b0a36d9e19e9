"""asv's plugin (asv.conf.json names it): the environment of every process that asv starts.

NumPy may be loaded there before the benchmarks are (asv_runner imports pympler, if it is installed, and that NumPy), so
they could not set it themselves.
"""

import os

import fair  # asv imports this file from its own folder


def setup():
    """Drop what slows a library, hold all to one thread; `suite.threads` asks for its threads by number."""
    for name in fair.HANDICAPS:
        os.environ.pop(name, None)
    os.environ.update(dict.fromkeys(fair.THREADS, "1"))
