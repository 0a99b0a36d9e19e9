"""Loops over vectors in LLVM IR, and the branch that leads to one of them."""

from llvmlite import ir
from numba.core import cgutils


def vector_loop(builder, start, stop, step):
    """Yield the index of a loop `for j in range(start, stop, step)`, its body written inside the `with`."""
    return cgutils.for_range_slice(builder, start, stop, ir.Constant(start.type, step), inc=True)


def dispatch(builder, code, cases):
    """Branch on an integer: cases maps a value to (function, argument), which writes the code for it."""
    done = builder.append_basic_block("dispatch.done")
    switch = builder.switch(code, done)
    for number, (write, argument) in cases.items():
        block = builder.append_basic_block("dispatch.case")
        switch.add_case(ir.Constant(code.type, number), block)
        builder.position_at_end(block)
        write(argument)
        builder.branch(done)
    builder.position_at_end(done)
