"""One product: C = I + A B. Small ones read their operands in place, large ones in packed blocks."""

from .jit import kernel
from .simd import lanes
from .tile import (TILE_ROWS, tile_1_1, tile_1_2, tile_1_4, tile_1_h, tile_2_1, tile_2_2, tile_2_h, tile_4_1, tile_4_2, tile_4_h, tile_8_1,
                   tile_8_2, tile_8_h)


@kernel(merge=True)
def columns_pair(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, M, K):  # noqa: E741
    m = 0
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


@kernel(merge=True)
def columns_single(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, M, K):  # noqa: E741
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


@kernel(merge=True)
def columns_half(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, M, K):  # noqa: E741
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


@kernel
def product(A, a0, sam, sak, B, b0, ldb, I, i0, ldi, C, c0, ldc, M, N, K):  # noqa: E741
    width = lanes(A)
    n = 0
    while N - n > width:
        columns_pair(A, a0, sam, sak, B, b0 + n, ldb, I, i0 + n, ldi, C, c0 + n, ldc, M, K)
        n += 2 * width
    if 2 * (N - n) > width:
        columns_single(A, a0, sam, sak, B, b0 + n, ldb, I, i0 + n, ldi, C, c0 + n, ldc, M, K)
    elif N > n:
        columns_half(A, a0, sam, sak, B, b0 + n, ldb, I, i0 + n, ldi, C, c0 + n, ldc, M, K)
