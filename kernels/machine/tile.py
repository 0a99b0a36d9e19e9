"""The register tile: the innermost loop of every matrix product, as LLVM IR.

C[m, n] = I[m, n] + sum_k A[m, k] B[k, n] for `rows` values of m and `vectors` machine vectors of n. The sum stays in
rows x vectors registers while k runs; each step loads `vectors` of B and broadcasts `rows` scalars of A. Element (m, k)
of A is at a0 + m sam + k sak, so x and x' are both read in place; B, I and C are row-major. I is where the sum starts:
the bias (ldi = 0), zeros, or C itself. Every element is one chain of multiply-adds in the order of k whatever the
shape of the tile, which is what makes results independent of how the work is split.
"""

from llvmlite import ir
from numba.core import types

from .lanes import call, splat
from .simd import Vector, checked_pointer, operation, prefetch_at
from .target import REGISTERS, VECTOR_BYTES

# 8 x 2 keeps 16 of 32 registers busy, 6 x 2 keeps 12 of 16; both cover the latency of the multiply-add.
TILE_ROWS = 8 if REGISTERS == 32 else 6
TILE_VECTORS = 2


def _width(dtype, vectors, half):
    lanes = VECTOR_BYTES // dtype.itemsize
    return lanes // 2 if half else lanes * vectors


def make_tile(rows, vectors, *, half=False, asking=False):
    """Return the tile operation for `rows` x `vectors` (or half a vector, for narrow layers).

    One that is `asking` takes X, x1, x2, xs too and asks for X[x1 + k xs] and X[x2 + k xs] at step k: what is needed
    next is under way while the registers are busy.
    """

    def twin(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, K):  # noqa: E741
        width = _width(A.dtype, vectors, half)
        for m in range(rows):
            total = I[i0 + m * ldi : i0 + m * ldi + width].copy()
            for k in range(K):
                total += A[a0 + m * sam + k * sak] * B[b0 + k * ldb : b0 + k * ldb + width]
            C[c0 + m * ldc : c0 + m * ldc + width] = total

    def code_for(dtype):
        lanes = VECTOR_BYTES // (dtype.bitwidth // 8) // (2 if half else 1)
        vector = Vector(dtype, lanes)
        align = dtype.bitwidth // 8

        def codegen(context, builder, sig, args):
            kinds = dict(zip("ABIC", (sig.args[0], sig.args[4], sig.args[7], sig.args[10]), strict=True))
            A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, K, *asked = args  # noqa: E741
            word = context.get_value_type(types.intp)
            llvm_vector = context.get_value_type(vector)
            number = lambda value: ir.Constant(word, value)  # noqa: E731

            def pointer(name, array, offset, reach):
                return checked_pointer(context, builder, kinds[name], array, offset, reach)

            def reach(*strides_and_counts):
                span = number(1)
                for stride, count in strides_and_counts:
                    span = builder.add(span, builder.mul(stride, count))
                return span

            last = builder.sub(K, number(1))
            full = number(lanes * vectors - 1)
            a = pointer("A", A, a0, reach((sam, number(rows - 1)), (sak, last)))
            b = pointer("B", B, b0, reach((ldb, last), (full, number(1))))
            start = pointer("I", I, i0, reach((ldi, number(rows - 1)), (full, number(1))))
            c = pointer("C", C, c0, reach((ldc, number(rows - 1)), (full, number(1))))

            def load_vector(base, offset):
                address = builder.gep(base, [offset])
                value = builder.load(builder.bitcast(address, llvm_vector.as_pointer()))
                value.align = align
                return value

            row_starts = [builder.gep(a, [builder.mul(sam, number(m))]) for m in range(rows)]
            first = [
                [
                    load_vector(start, builder.add(builder.mul(ldi, number(m)), number(v * lanes)))
                    for v in range(vectors)
                ]
                for m in range(rows)
            ]
            entry_block = builder.block
            loop = builder.append_basic_block("tile.k")
            done = builder.append_basic_block("tile.done")
            builder.cbranch(builder.icmp_signed(">", K, number(0)), loop, done)

            builder.position_at_end(loop)
            k = builder.phi(word)
            k.add_incoming(number(0), entry_block)
            sums = [[builder.phi(llvm_vector) for _ in range(vectors)] for _ in range(rows)]
            row_b = builder.mul(k, ldb)
            loaded = [load_vector(b, builder.add(row_b, number(v * lanes))) for v in range(vectors)]
            column_a = builder.mul(k, sak)
            if asked:
                source = context.make_array(sig.args[14])(context, builder, asked[0]).data
                way = builder.mul(k, asked[3])
                for offset in asked[1:3]:
                    prefetch_at(builder, builder.gep(source, [builder.add(offset, way)]))
            updated = []
            for m in range(rows):
                scalar = builder.load(builder.gep(row_starts[m], [column_a]))
                scalar.align = align
                broadcast = splat(builder, scalar, lanes)
                updated.append(
                    [call(builder, "fmuladd", broadcast, loaded[v], sums[m][v]) for v in range(vectors)]
                )
            following = builder.add(k, number(1))
            k.add_incoming(following, loop)
            for m in range(rows):
                for v in range(vectors):
                    sums[m][v].add_incoming(first[m][v], entry_block)
                    sums[m][v].add_incoming(updated[m][v], loop)
            builder.cbranch(builder.icmp_signed("<", following, K), loop, done)

            builder.position_at_end(done)
            for m in range(rows):
                for v in range(vectors):
                    result = builder.phi(llvm_vector)
                    result.add_incoming(first[m][v], entry_block)
                    result.add_incoming(updated[m][v], loop)
                    sums[m][v] = result
            for m in range(rows):
                for v in range(vectors):
                    address = builder.gep(c, [builder.add(builder.mul(ldc, number(m)), number(v * lanes))])
                    stored = builder.store(sums[m][v], builder.bitcast(address, llvm_vector.as_pointer()))
                    stored.align = align
            return context.get_dummy_value()

        return codegen

    p = types.intp

    @operation(twin=twin)
    def tile(typingctx, A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, K):  # noqa: E741
        """tile(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, K): see the head of this file."""
        return types.void(A, p, p, p, B, p, p, I, p, p, C, p, p, p), code_for(A.dtype)

    @operation(twin=lambda *args: twin(*args[:-4]))
    def asking_tile(typingctx, A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, K, X, x1, x2, xs):  # noqa: E741
        """asking_tile(..., K, X, x1, x2, xs): see make_tile."""
        return types.void(A, p, p, p, B, p, p, I, p, p, C, p, p, p, X, p, p, p), code_for(A.dtype)

    return asking_tile if asking else tile


tile_8_2 = make_tile(TILE_ROWS, 2)
tile_8_2_asking = make_tile(TILE_ROWS, 2, asking=True)
tile_4_2 = make_tile(4, 2)
tile_2_2 = make_tile(2, 2)
tile_1_2 = make_tile(1, 2)
tile_1_4 = make_tile(1, 4)
tile_8_1 = make_tile(TILE_ROWS, 1)
tile_4_1 = make_tile(4, 1)
tile_2_1 = make_tile(2, 1)
tile_1_1 = make_tile(1, 1)
tile_8_h = make_tile(TILE_ROWS, 1, half=True)
tile_4_h = make_tile(4, 1, half=True)
tile_2_h = make_tile(2, 1, half=True)
tile_1_h = make_tile(1, 1, half=True)
