"""The product of matrices whose elements are vectors: one number of each of many models, a model per lane.

C[r, c] = S[r, c] + sum_k X[r, k] W[k, c] for `rows` x `columns` elements at once, which stay in registers while k runs.
Rows and columns of all four matrices may be any distance apart, so x W, x' delta and delta W' are the same loop. Every
element is one chain of multiply-adds in the order of k.
"""

from typing import NamedTuple

import numpy as np
from numba.core import cgutils, types

from .lanes import Lanes, fma
from .loops import Writer
from .simd import load_twin, operation, store_twin
from .target import REGISTERS

# 4 x 4 sums, 4 of W and 1 of X are 21 of 32 registers; 4 x 2, 2 and 1 are 11 of 16.
PATCH_ROWS, PATCH_COLUMNS = 4, 4 if REGISTERS == 32 else 2


class Grid(NamedTuple):
    """A matrix of vectors in a flat array: element (r, c) begins at data[start + r * down + c * right]."""

    data: np.ndarray
    start: int
    down: int
    right: int


def make_patch(rows, columns):
    """Return the operation for `rows` x `columns` elements."""

    def place(grid, r, c):
        return grid.start + r * grid.down + c * grid.right

    def twin(X, W, S, C, K):
        made = {}
        for r in range(rows):
            for c in range(columns):
                total = load_twin(S.data, place(S, r, c))
                for k in range(K):
                    total = total + load_twin(X.data, place(X, r, k)) * load_twin(W.data, place(W, k, c))
                made[r, c] = total
        for (r, c), total in made.items():
            store_twin(C.data, place(C, r, c), total)

    @operation(twin=twin)
    def patch(typingctx, X, W, S, C, K):
        """patch(X, W, S, C, K): see the head of this file; X, W, S and C are grids, K is at least 1."""

        def codegen(context, builder, sig, args):
            *grids, K = args
            w = Writer(context, builder, sig.args[0][0].dtype)
            height, length = w.word(rows), w.word(columns)
            parts = [cgutils.unpack_tuple(builder, grid) for grid in grids]
            bases = []
            for (data, start, down, right), kind, size in zip(
                parts, sig.args, ((height, K), (K, length), (height, length), (height, length)), strict=False
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
            for r, c in places:
                w.store(bases[3], at(3, r, c), Lanes(builder, builder.load(sums[r, c])))
            return context.get_dummy_value()

        return types.void(X, W, S, C, types.intp), codegen

    return patch


patch = make_patch(PATCH_ROWS, PATCH_COLUMNS)
patch_row = make_patch(1, PATCH_COLUMNS)
patch_column = make_patch(PATCH_ROWS, 1)
patch_element = make_patch(1, 1)
