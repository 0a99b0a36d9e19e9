"""The process whose life `startup` times: `python -m bench.peers.first_epoch FACTORY CASE-JSON [--report]`.

With `--report` it says at the end which kernels it had. That takes time, so such a start is not timed.
"""

from __future__ import annotations

import json
import sys

from bench import fair
from bench.peers.subject import Case
from bench.peers.worker import load


def main() -> None:
    """Import the peer, train one epoch."""
    factory, case, *flags = sys.argv[1:]
    subject = load(factory)(Case(**json.loads(case)))
    subject.reset()
    subject.run(1)
    if "--report" in flags:
        print("\n" + json.dumps(fair.report()))


if __name__ == "__main__":
    main()
