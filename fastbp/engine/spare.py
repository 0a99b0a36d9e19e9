"""Sessions that short trainings leave to the next ones, of any model of the same layout.

To make a session takes as long as to train a small network on a hundred rows. One whose training has ended can begin
anew: with the state of the optimizer, the counters and the seed of a new one, it leaves the same bits.
"""

from __future__ import annotations

from typing import Any

from fastbp.engine import teams
from fastbp.engine.engine import Engine
from fastbp.engine.session import Session
from fastbp.objectives import Objective
from fastbp.optimizers import Rule

MOST, MOST_BYTES = 8, 2**18  # sessions that are kept, and the memory of one
_KEPT: dict[tuple[Any, ...], Session] = {}


def take(
    engine: Engine,
    objective: Objective,
    rule: Rule,
    *,
    batch_size: int,
    seed: int = 0,
    n_threads: int | None = 1,
    **settings: Any,
) -> Session | None:
    """Return a session that was kept, begun anew with these arguments of `Session`; None if there is none for them."""
    if not _KEPT or settings.keys() - {"max_grad_norm", "alpha", "by_weight"}:
        return None
    key = _key(engine, objective, rule, batch_size, n_threads, **settings)
    session = _KEPT.pop(key, None)
    if session is None or teams.size_for(batch_size * engine.layout.flops_per_row, n_threads) > 1:
        return None
    session.begin_anew(engine, rule, seed)
    return session


def keep(session: Session) -> None:
    """Keep a session whose training has ended, and which nobody else has, if it is a small one for one thread."""
    workspace = session._workspace
    size = workspace.job.nbytes + workspace.work.nbytes + workspace.grad.nbytes + workspace.out.nbytes
    if type(session) is not Session or workspace.threads > 1 or size > MOST_BYTES:
        return
    key = _key(
        session.engine,
        session.objective,
        session.rule,
        session.batch_size,
        session.n_threads,
        max_grad_norm=session.max_grad_norm,
        alpha=session.alpha,
        by_weight=session.by_weight,
    )
    session.prepared = None
    del session.engine  # the model is not kept
    while len(_KEPT) >= MOST:
        try:
            del _KEPT[next(iter(_KEPT))]
        except (KeyError, RuntimeError, StopIteration):  # another thread was faster
            continue
    _KEPT[key] = session


def _key(
    engine: Engine,
    objective: Objective,
    rule: Rule,
    batch_size: int,
    n_threads: int | None,
    *,
    max_grad_norm: float | None = None,
    alpha: float = 0.0,
    by_weight: bool = False,
) -> tuple[Any, ...]:
    """Return what a session cannot change."""
    return engine.layout, objective, rule.kernel, batch_size, n_threads, max_grad_norm, alpha, by_weight
