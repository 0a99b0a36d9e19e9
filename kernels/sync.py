"""What threads of one team share: counters that hand out work, and a barrier that sleeps.

A team is a few Python threads inside the same kernel call (the GIL released). Blocks of work are claimed from a
counter, so that a thread that lost its core delays only the block in its hands. At the barrier a thread spins for some
microseconds, the usual difference between two idle cores, then sleeps in the kernel (a futex on Linux, elsewhere it
yields): a neighbor on the same core gets it.
"""

import sys

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import types

from .jit import kernel
from .simd import checked_pointer, operation

# Places in the shared int64 array, a cache line apart.
ARRIVED, GENERATION, ROWS, BLOCKS, STOP, STOPPED, SLEEPERS = 0, 8, 16, 24, 32, 40, 48
SYNC_SIZE = 56
# About 50 microseconds: longer than two balanced threads differ, shorter than a time slice by far.
SPINS = 2000

_TRIPLE = llvm.get_process_triple()
_FUTEX = 0
if sys.platform.startswith("linux"):
    _FUTEX = 202 if _TRIPLE.startswith("x86_64") else 98 if _TRIPLE.startswith("aarch64") else 0
_WAIT, _WAKE = 128, 129


def _word(context, builder, sig, args):
    one = context.get_constant(types.intp, 1)
    return checked_pointer(context, builder, sig.args[0], args[0], args[1], one)


def _fetch_add_twin(array, i, value):
    before = int(array[i])
    array[i] += value
    return before


@operation(twin=_fetch_add_twin)
def fetch_add(typingctx, array, i, value):
    """fetch_add(array, i, value): array[i] += value in one indivisible step; returns what was there before."""

    def codegen(context, builder, sig, args):
        return builder.atomic_rmw("add", _word(context, builder, sig, args), args[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), codegen


@operation(twin=lambda array, i: int(array[i]))
def read(typingctx, array, i):
    """read(array, i): array[i] as another thread last published it."""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(_word(context, builder, sig, args), "seq_cst", 8)

    return types.int64(array, types.intp), codegen


def _publish_twin(array, i, value):
    array[i] = value


@operation(twin=_publish_twin)
def publish(typingctx, array, i, value):
    """publish(array, i, value): array[i] = value, after everything this thread wrote before."""

    def codegen(context, builder, sig, args):
        builder.store_atomic(args[2], _word(context, builder, sig, args), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), codegen


@operation(twin=lambda: None)
def pause(typingctx):
    """pause(): a hint to the core that this is a spin loop."""

    def codegen(context, builder, sig, args):
        if _TRIPLE.startswith(("x86_64", "i686")):
            name = "llvm.x86.sse2.pause"
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.globals.get(name) or ir.Function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.void(), codegen


def _system_call(builder, operation_code, address, value):
    """futex(address, operation, value): the address's low half is the word, on little-endian machines."""
    long = ir.IntType(64)
    kind = ir.FunctionType(long, [long], var_arg=True)
    function = builder.module.globals.get("syscall") or ir.Function(builder.module, kind, "syscall")
    number = lambda n: ir.Constant(long, n)  # noqa: E731
    builder.call(
        function,
        [
            number(_FUTEX),
            builder.ptrtoint(address, long),
            number(operation_code),
            value,
            number(0),
            number(0),
            number(0),
        ],
    )


def _yield(builder):
    name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
    kind = ir.FunctionType(ir.IntType(32), [])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    builder.call(function, [])


@operation(twin=lambda array, i, value: None)
def sleep_while(typingctx, array, i, value):
    """sleep_while(array, i, value): give up the core while array[i] == value; may return early."""

    def codegen(context, builder, sig, args):
        if _FUTEX:
            _system_call(builder, _WAIT, _word(context, builder, sig, args), args[2])
        else:
            _yield(builder)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), codegen


@operation(twin=lambda array, i: None)
def wake(typingctx, array, i):
    """wake(array, i): wake every thread that sleeps on array[i]."""

    def codegen(context, builder, sig, args):
        if _FUTEX:
            _system_call(
                builder, _WAKE, _word(context, builder, sig, args), ir.Constant(ir.IntType(64), 2**30)
            )
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@kernel
def barrier(sync, team):
    """Wait until all `team` threads are here; the last one resets the counters of work.

    It also notes, for all alike, whether the call was asked to stop: STOP may be set any time, STOPPED changes here.
    """
    if team == 1:
        publish(sync, STOPPED, read(sync, STOP))
        return
    generation = read(sync, GENERATION)
    if fetch_add(sync, ARRIVED, np.int64(1)) == team - 1:
        publish(sync, ARRIVED, np.int64(0))
        publish(sync, ROWS, np.int64(0))
        publish(sync, BLOCKS, np.int64(0))
        publish(sync, STOPPED, read(sync, STOP))
        publish(sync, GENERATION, generation + 1)
        # Who counts itself as asleep after this was read finds the generation changed, and does not sleep.
        if read(sync, SLEEPERS) > 0:
            wake(sync, GENERATION)
        return
    spins = 0
    while read(sync, GENERATION) == generation:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            fetch_add(sync, SLEEPERS, np.int64(1))
            sleep_while(sync, GENERATION, generation)
            fetch_add(sync, SLEEPERS, np.int64(-1))


@kernel(inline=True)
def claim(sync, counter, team, last):
    """Return the next block of work: last + 1 for a single thread, the shared counter's next value in a team."""
    if team == 1:
        return last + 1
    return fetch_add(sync, counter, np.int64(1))
