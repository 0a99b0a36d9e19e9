"""The outputs of many nets for the same rows: all of them, their mean, or the classes that most of them choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbp.arrays import to_inputs
from fastbp.engine import teams
from fastbp.engine.sources import first_layer
from fastbp.many.arguments import about, check_length, listed
from fastbp.many.work import Control, work_off
from fastbp.sequential import Sequential
from fastbp.validation import check_choice, check_threads

BLOCK_BYTES = 32 * 2**20  # predictions that wait to be put together


def outputs_of(
    members: Sequence[Sequential], x: Any, combine: str | None, n_threads: int | None, *, alike: bool = False
) -> NDArray[Any]:
    """Return what `fastbp.predict_many` returns; `alike`: all members have the same architecture."""
    if combine is not None:
        check_choice(combine, "combine", ("mean", "vote"))
    n = len(members)
    several = listed(x, 2)
    if several:
        check_length(x, n, "x")
    first = members[0]
    outputs, kinds = first.n_outputs, [first] if alike else members
    for i, net in enumerate(kinds):
        if net.n_outputs != outputs:
            raise ValueError(f"nets[{i}] has {net.n_outputs} outputs, nets[0] has {outputs}")
    dtype = np.result_type(*{net.dtype for net in kinds})
    prepared: dict[Any, Any] = {}

    def inputs(net: Sequential, i: int) -> Any:
        """Return the checked x of net i; one for all is checked once for each kind of net."""
        kind = (i if several else -1, net.n_inputs, net.dtype)
        if kind not in prepared:
            layout = net.engine.layout
            made = to_inputs(x[i] if several else x, *kind[1:], layer=first_layer(layout), finite=False)
            if several and made.shape[0] != prepared.get("rows", made.shape[0]):
                raise ValueError(
                    f"x must have {prepared['rows']} rows as that of nets[0], got {made.shape[0]}"
                )
            prepared.setdefault("rows", made.shape[0])
            if several:
                return made
            prepared[kind] = made
        return prepared[kind]

    for i, net in enumerate(members if several else kinds):
        try:
            inputs(net, i)
        except (TypeError, ValueError) as error:
            raise about(error, i, n) from error
    count = prepared["rows"]
    result = np.empty((n if combine is None else 0, count, outputs), dtype)
    threads = check_threads(n_threads) or teams.default_threads()
    fill = _filler(members, inputs, threads)
    if combine is None:
        fill(result, 0)
        return result
    total = np.zeros((count, outputs if combine == "mean" else max(2, outputs)))
    for begin, end in _blocks(n, count * outputs * dtype.itemsize):
        block = np.empty((end - begin, count, outputs), dtype)
        fill(block, begin)
        for outputs_of_one in block:
            if combine == "mean":
                total += outputs_of_one
            else:
                total[np.arange(count), _choice(outputs_of_one)] += 1.0
    return np.asarray((total / n).astype(dtype) if combine == "mean" else total.argmax(axis=1))


def _filler(
    members: Any, inputs: Callable[[Sequential, int], Any], threads: int
) -> Callable[[NDArray[Any], int], None]:
    """Return fill(block, begin), which predicts with the nets from `begin` on, as many as the block has room for."""

    def fill(block: NDArray[Any], begin: int) -> None:
        def part(first: int, last: int) -> Callable[[Control], str]:
            def predict(control: Control) -> str:
                for k in range(first, last):
                    if control.ends:
                        break
                    net = members[begin + k]
                    block[k] = net.predict(inputs(net, begin + k), n_threads=1)
                return ""

            return predict

        n = len(block)
        if threads == 1 or n == 1:
            part(0, n)(Control())
            return
        cuts = np.linspace(0, n, min(n, 8 * threads) + 1).astype(int)
        work_off([part(*cut) for cut in zip(cuts[:-1], cuts[1:], strict=True)], threads, Control())

    return fill


def _blocks(n: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield nets from ... to, as many as may wait to be put together."""
    step = max(1, BLOCK_BYTES // max(1, size))
    for begin in range(0, n, step):
        yield begin, min(n, begin + step)


def _choice(outputs: NDArray[Any]) -> NDArray[Any]:
    """Return the class that a net chooses for each row."""
    return np.asarray((outputs[:, 0] > 0.0).astype(int) if outputs.shape[1] == 1 else outputs.argmax(axis=1))
