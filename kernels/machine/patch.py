"""The product of matrices whose elements are vectors: one number of each of many models, a model per lane.

C[r, c] = S[r, c] + sum_k X[r, k] W[k, c] for `rows` x `columns` elements at once, which stay in registers while k runs.
Rows and columns of all matrices may be any distance apart, so x W, x' delta and delta W' are the same loop. Every
element is one chain of multiply-adds in the order of k. What follows it element by element, a floor or a mask, is done
before it is written.
"""

from typing import NamedTuple

import numpy as np
from numba.core import cgutils, types

from .lanes import Lanes, fma
from .loops import Writer
from .simd import load_twin, operation, store_twin
from .target import REGISTERS

# 4 x 4 sums, 4 of W and 1 of X are 21 of 32 registers; 4 x 2, 2 and 1 are 11 of 16. A column by itself waits for loads:
# 8 of X and 1 of W for 8 sums.
PATCH_ROWS, PATCH_COLUMNS, PATCH_TALL = 4, 4 if REGISTERS == 32 else 2, 8


class Grid(NamedTuple):
    """A matrix of vectors in a flat array: element (r, c) begins at data[start + r * down + c * right]."""

    data: np.ndarray
    start: int
    down: int
    right: int


def make_patch(rows, columns, finish=None):
    """Return the operation for `rows` x `columns` elements.

    Parameters
    ----------
    finish : callable, optional
        C is finish(sum, t), or finish(sum, t, e) with an element of E. Left out, C is the sum.
    """
    wants_edge = finish is not None and finish.__code__.co_argcount == 3

    def place(grid, r, c):
        return grid.start + r * grid.down + c * grid.right

    def twin(X, W, S, C, E, t, K):
        made = {}
        for r in range(rows):
            for c in range(columns):
                total = load_twin(S.data, place(S, r, c))
                for k in range(K):
                    total = total + load_twin(X.data, place(X, r, k)) * load_twin(W.data, place(W, k, c))
                edge = (load_twin(E.data, place(E, r, c)),) if wants_edge else ()
                made[r, c] = finish(total, S.data.dtype.type(t), *edge) if finish else total
        for (r, c), total in made.items():
            store_twin(C.data, place(C, r, c), total)

    @operation(twin=twin)
    def patch(typingctx, X, W, S, C, E, t, K):
        """patch(X, W, S, C, E, t, K): see the head of this file; all but t and K are grids, K is at least 1."""

        def codegen(context, builder, sig, args):
            *grids, t, K = args
            w = Writer(context, builder, sig.args[0][0].dtype)
            height, length = w.word(rows), w.word(columns)
            parts = [cgutils.unpack_tuple(builder, grid) for grid in grids]
            whole = height, length
            bases = []
            for (data, start, down, right), kind, size in zip(
                parts, sig.args, ((height, K), (K, length), whole, whole, whole), strict=False
            ):
                last = [builder.sub(count, w.word(1)) for count in size]
                reach = builder.add(builder.mul(down, last[0]), builder.mul(right, last[1]))
                bases.append(w.pointer(kind[0], data, start, builder.add(reach, w.word(w.width))))

            def at(which, r, c):
                """Return the distance of an element from the first one."""
                _, _, down, right = parts[which]
                r, c = (w.word(v) if isinstance(v, int) else v for v in (r, c))
                return builder.add(builder.mul(down, r), builder.mul(right, c))

            places = [(r, c) for r in range(rows) for c in range(columns)]
            sums = {
                (r, c): cgutils.alloca_once_value(builder, w.load(bases[2], at(2, r, c)).value)
                for r, c in places
            }
            with w.loop(K, 1) as (k, _):
                of_w = [w.load(bases[1], at(1, k, c)) for c in range(columns)]
                for r in range(rows):
                    of_x = w.load(bases[0], at(0, r, k))
                    for c in range(columns):
                        before = Lanes(builder, builder.load(sums[r, c]))
                        builder.store(fma(of_x, of_w[c], before).value, sums[r, c])
            limit = w.spread(t)
            for r, c in places:
                result = Lanes(builder, builder.load(sums[r, c]))
                if finish:
                    edge = (w.load(bases[4], at(4, r, c)),) if wants_edge else ()
                    result = finish(result, limit, *edge)
                w.store(bases[3], at(3, r, c), result)
            return context.get_dummy_value()

        return types.void(X, W, S, C, E, types.float64, types.intp), codegen

    return patch


def make_patches(finish=None):
    """Return the operations for a patch of 4, 2 and 1 rows; and for several elements of a column, and one."""
    wide = (make_patch(rows, PATCH_COLUMNS, finish) for rows in (PATCH_ROWS, PATCH_ROWS // 2, 1))
    return *wide, make_patch(PATCH_TALL, 1, finish), make_patch(1, 1, finish)
