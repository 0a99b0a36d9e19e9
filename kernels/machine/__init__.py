"""All that knows Numba and LLVM: how kernels are compiled and kept, vectors, register tiles, threads in step.

The folder above holds formulas and loops, written with the words of this one.
"""
