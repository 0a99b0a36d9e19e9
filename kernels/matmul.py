"""One product, C = I + A B, for x W, x' delta and delta W'.

A is read element by element at any strides, so a transpose costs nothing; B, I and C are row-major. The tiles read A
and B where they are, a panel of two vectors of B after the other. What that needs is a distance between rows that is no
multiple of 2048 bytes (engine.py adds a line), else the rows of a panel fall on the same few sets of the caches: 38
GFLOP/s instead of 96 for 96 x 2048 x 2048. With it, from 32 x 64 x 64 to 128 x 2048 x 2048, tiles run at 83 to 99 % of
the multiply-add peak (bench/suite/kernels.py), above what a BLAS reaches there; and the bits do not depend on how
the work is split. Only where B is larger than PACKED_BYTES, and read by many tiles, is a panel copied first, to where
it is contiguous: 512 x 2048 x 2048 in float64 goes from 71 to 86 % of the peak, 512 x 4096 x 4096 in float32 from 49 to
88 %.
"""

from .machine.jit import kernel
from .machine.simd import lanes, load, store
from .machine.target import VECTOR_BYTES
from .machine.tile import (
    TILE_ROWS,
    TILE_VECTORS,
    tile_1_1,
    tile_1_2,
    tile_1_h,
    tile_2_1,
    tile_2_2,
    tile_2_h,
    tile_4_1,
    tile_4_2,
    tile_4_h,
    tile_8_1,
    tile_8_2,
    tile_8_2_asking,
    tile_8_h,
)

# Beyond this a matrix is not in the second cache when its next panel is needed.
FAR_BYTES = 1 << 19
# The copy of a panel costs as much as two tiles of rows; smaller matrices stay in the third cache and gain nothing.
PACKED_BYTES, PACKED_ROWS = 24 << 20, 128


@kernel(inline=True, literals=True)
def two_vectors(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, M, K, X, x1, xs):  # noqa: E741
    """M rows by two vectors of columns; the first tile asks for the panel at X[x1:], rows xs apart, if xs > 0."""
    m = 0
    if xs > 0 and M >= 2 * TILE_ROWS:
        x2 = x1 + lanes(A)
        tile_8_2_asking(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, K, X, x1, x2, xs)
        m += TILE_ROWS
    while m + TILE_ROWS <= M:
        tile_8_2(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)
        m += TILE_ROWS
    if m + 4 <= M:
        tile_4_2(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)
        m += 4
    if m + 2 <= M:
        tile_2_2(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)
        m += 2
    if m < M:
        tile_1_2(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)


@kernel(inline=True, literals=True)
def one_vector(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, M, K):  # noqa: E741
    """M rows by one vector of columns."""
    m = 0
    while m + TILE_ROWS <= M:
        tile_8_1(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)
        m += TILE_ROWS
    if m + 4 <= M:
        tile_4_1(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)
        m += 4
    if m + 2 <= M:
        tile_2_1(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)
        m += 2
    if m < M:
        tile_1_1(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)


@kernel(inline=True, literals=True)
def half_vector(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, M, K):  # noqa: E741
    """M rows by half a vector of columns, for what is left of a row and for narrow layers."""
    m = 0
    while m + TILE_ROWS <= M:
        tile_8_h(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)
        m += TILE_ROWS
    if m + 4 <= M:
        tile_4_h(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)
        m += 4
    if m + 2 <= M:
        tile_2_h(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)
        m += 2
    if m < M:
        tile_1_h(A, a0 + m * sam, sam, sak, B, b0, ldb, I, i0 + m * ldi, ldi, C, c0 + m * ldc, ldc, K)


def _product(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, M, N, K, P, p0):  # noqa: E741
    """C[m, n] = I[m, n] + sum over k of A[m, k] B[k, n], for m < M, n < N, k < K.

    Rows of B, I and C start at b0, i0, c0 and lie ldb, ldi, ldc apart; ldi = 0 repeats one row (the bias), I = C
    accumulates. Element (m, k) of A is at a0 + m sam + k sak; one of the two is a literal 1 in every call, which saves
    the innermost loop an addition per row (7 % of a step's instructions with AVX2). Columns from N to the next half
    vector are written too: rows are padded. Panels of a large B may be copied to P[p0:], K times two vectors; p0 < 0
    says that there is no such place. While one panel is worked on, the next one is asked for if B is far: 225 instead
    of 239 ms for a step of wide, 453 instead of 506 in float64.
    """
    width = lanes(A)
    size = K * ldb * (VECTOR_BYTES // width)
    packed = p0 >= 0 and M >= PACKED_ROWS and size >= PACKED_BYTES
    far = ldb if size >= FAR_BYTES else 0
    n = 0
    while N - n > width:
        panel, start, step = B, b0 + n, ldb
        if packed:
            for k in range(K):
                for j in range(0, 2 * width, width):
                    store(P, p0 + 2 * k * width + j, load(B, b0 + k * ldb + n + j))
            panel, start, step = P, p0, 2 * width
        two_vectors(
            A,
            a0,
            sam,
            sak,
            panel,
            start,
            step,
            I,
            i0 + n,
            ldi,
            C,
            c0 + n,
            ldc,
            M,
            K,
            B,
            b0 + n + 2 * width,
            far,
        )
        n += 2 * width
    if 2 * (N - n) > width:
        one_vector(A, a0, sam, sak, B, b0 + n, ldb, I, i0 + n, ldi, C, c0 + n, ldc, M, K)
    elif N > n:
        half_vector(A, a0, sam, sak, B, b0 + n, ldb, I, i0 + n, ldi, C, c0 + n, ldc, M, K)


# A called one is slower for small matrices by what it hands on, 48 words; an inlined one takes its time to compile.
product = kernel(inline=True, literals=True)(_product)
called_product = kernel(literals=True)(_product)


@kernel(inline=True)
def product_asking(A, a0, lda, B, b0, ldb, I, i0, C, c0, ldc, M, N, K, P, p0, X, order, place):  # noqa: E741
    """`product` of rows that lie in order, which meanwhile asks for those that come next, before they are waited for.

    They are rows order[place:] of X, K wide: as many as A has, two in each of the first tiles, a line at a time. Asking
    for all at once would wait for memory as long as the copy does. Rows scattered in memory took 82 of the 750 us of a
    step of mnist-sk; with this it takes 700.
    """
    step = TILE_VECTORS * lanes(A)
    whole = M // TILE_ROWS * TILE_ROWS
    last = order.size - 1
    n = 0
    pair = 0
    while N - n > lanes(A) and pair < TILE_ROWS:
        for m in range(0, whole, TILE_ROWS):
            x1 = order[min(place + m + pair, last)] * K
            x2 = order[min(place + m + pair + 1, last)] * K
            tile_8_2_asking(
                A,
                a0 + m * lda,
                lda,
                1,
                B,
                b0 + n,
                ldb,
                I,
                i0 + n,
                0,
                C,
                c0 + m * ldc + n,
                ldc,
                K,
                X,
                x1,
                x2,
                1,
            )
        n += step
        pair += 2
    if whole < M:
        a1, c1 = a0 + whole * lda, c0 + whole * ldc
        called_product(A, a1, lda, 1, B, b0, ldb, I, i0, 0, C, c1, ldc, M - whole, min(n, N), K, P, p0)
    if n < N:
        called_product(A, a0, lda, 1, B, b0 + n, ldb, I, i0 + n, 0, C, c0 + n, ldc, M, N - n, K, P, p0)
