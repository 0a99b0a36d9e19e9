"""What threads of one team share: phases of blocks of work, claimed one by one, waited for without burning a core.

A team is a few Python threads inside the same kernel call (the GIL released). A phase is over when all its blocks are
done, whoever did them: a thread that lost its core, or has not got one yet, delays only a block in its hands, and finds
its way through the phases it missed by claiming nothing. Who does the last block does what is to be done once, then
opens the next phase:

    k = claim(team, phase, blocks, -1)
    while k < blocks:
        ...                                 block k
        if finished(team, k, blocks):
            ...                             what is done once
            advance(team, phase, stopped)
        k = claim(team, phase, blocks, k)
    wait(team, phase)

Who finds nothing left spins for some microseconds, the usual difference between two idle cores, then sleeps in the
kernel (a futex on Linux, elsewhere it yields): a neighbor on the same core gets it.
"""

import sys
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba.core import types

from .jit import kernel
from .simd import checked_pointer, operation

# Places in the shared int64 array, a cache line apart. NEXT: the phase in the upper half, its next block in the lower.
NEXT, DONE, PHASE, STOP, STOPPED, SLEEPERS, MEMBERS = 0, 8, 16, 24, 32, 40, 48
SYNC_SIZE = 56
_HALF = np.int64(32)
_LOWER = np.int64(2**32 - 1)
# About 50 microseconds: longer than two balanced threads differ, shorter than a time slice by far.
SPINS = 2000

_TRIPLE = llvm.get_process_triple()
_FUTEX = 0
if sys.platform.startswith("linux"):
    _FUTEX = 202 if _TRIPLE.startswith("x86_64") else 98 if _TRIPLE.startswith("aarch64") else 0
_WAIT, _WAKE = 128, 129


class Team(NamedTuple):
    """The threads of one call: the words they meet at, 1 if there is one of them or else 2, and this one's number."""

    sync: np.ndarray
    size: int
    member: int


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


def _exchange_twin(array, i, expected, value):
    if array[i] != expected:
        return False
    array[i] = value
    return True


@operation(twin=_exchange_twin)
def exchange(typingctx, array, i, expected, value):
    """exchange(array, i, expected, value): array[i] = value if it was as expected, in one indivisible step."""

    def codegen(context, builder, sig, args):
        pair = builder.cmpxchg(_word(context, builder, sig, args), args[2], args[3], "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(array, types.intp, types.int64, types.int64), codegen


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


@kernel(inline=True)
def claim(team, phase, blocks, last):
    """Return the next block of a phase, or `blocks` if none is left; a single thread counts from `last`."""
    if team.size == 1:
        return last + 1
    return _claim(team.sync, phase, blocks)


@kernel
def _claim(sync, phase, blocks):
    """`claim` among several threads."""
    while True:
        word = read(sync, NEXT)
        block = word & _LOWER
        if word >> _HALF != phase or block >= blocks:
            return blocks
        if exchange(sync, NEXT, word, word + 1):
            return block


@kernel(inline=True)
def finished(team, block, blocks):
    """A block is done: True for the one thread that thereby ends the phase, which has then to `advance`."""
    if team.size == 1:
        return block == blocks - 1
    return fetch_add(team.sync, DONE, np.int64(1)) == blocks - 1


@kernel(inline=True)
def advance(team, phase, stopped):
    """Open the phase after `phase`, and note for all alike whether the call was asked to stop."""
    if team.size == 1:
        team.sync[STOPPED] = stopped
    else:
        publish(team.sync, STOPPED, stopped)
        _open(team.sync, phase + 1)


@kernel
def _open(sync, phase):
    """Let all threads go on to a phase."""
    publish(sync, DONE, np.int64(0))
    publish(sync, NEXT, np.int64(phase) << _HALF)
    publish(sync, PHASE, np.int64(phase))
    # Who counts itself as asleep after this was read finds the phase changed, and does not sleep.
    if read(sync, SLEEPERS) > 0:
        wake(sync, PHASE)


@kernel(inline=True)
def wait(team, phase):
    """Wait until the phase is over."""
    if team.size != 1:
        _wait(team.sync, phase)


@kernel
def _wait(sync, phase):
    """`wait` among several threads."""
    spins = 0
    now = read(sync, PHASE)
    while now <= phase:
        spins += 1
        if spins < SPINS:
            pause()
        else:
            fetch_add(sync, SLEEPERS, np.int64(1))
            sleep_while(sync, PHASE, now)
            fetch_add(sync, SLEEPERS, np.int64(-1))
        now = read(sync, PHASE)
