"""The plan: what a kernel must know of a network and a run, as records in one row of numbers.

Architecture, activations, loss and optimizer are data, so that one compilation serves them all. A plan is an array of
int64: the fields of the network, then for each layer the fields of a layer; the last ones of both are float64 in the
same eight bytes. fastbp.engine writes them by their numbers (`plan[N_LAYERS]`), kernels read them by their names
(`layer.fan_in`): NETWORK and LAYER are the types of the records. Offsets count elements: those of weights point into
`params`, those of activations into `work`.

A layer's weights are stored as W, rows of `fan_out` padded to 64 bytes, or (`transposed`, narrow outputs) as W', rows
of `fan_in`; the padding is zero and stays zero. T is a copy in the other orientation, kept beside theta: the forward
product reads W, the backward product W', both row by row.

A job is what `network.run` needs beside the arrays of the caller and of the network: what the call is asked for, the
words that its threads meet at, a plan, the numbers that add up while it runs, and cursors into CSR rows.
"""

import struct

import numpy as np

from .machine.records import Record, record_at, record_behind, stretches
from .machine.sync import SYNC_SIZE
from .optimizers import HYPER, SWITCHES, UNIT


def _record(name, first, first_float, last):
    """Return the type of a record: the constants defined so far from `first` to `last`, by their lower-case names."""
    names = list(globals())
    names = [name for name in names[names.index(first) : names.index(last) + 1] if name[0] != "_"]
    fields = {name.lower(): place for place, name in enumerate(names)}
    return Record(name, fields, fields[first_float.lower()])


# The network. Sizes: n_out of the last layer, n_params with the padding.
N_LAYERS, N_PARAMS, N_OUT, N_BLOCKS, WORK_SIZE = range(5)
# Rows of a batch, of the part of a batch that activations have room for.
BATCH, PART = range(5, 7)
# Codes of the loss and the rule.
LOSS, RULE = range(7, 9)
# Whether the gradient of the inputs is wanted too; clipping by global norm: the address of `clipped_phase`, or 0.
WANT_INPUTS, CLIPPED = range(9, 11)
# `slot`: size of a thread's own place for the gradient of a block, 0 if the gradient is written whole. `panel`,
# `panel_size`: a thread's place in `work` for copied weights, -1 if none are copied.
SLOT, PANEL, PANEL_SIZE = range(11, 14)
# Place in `work` where the gradient of some rows is summed before it is added to that of the rows before.
PARTIAL = 14
# The address of a loss of the user's.
JUDGE = 15
# Switches and hyper-parameters of the rules: NESTEROV, ..., BETA1, ..., as optimizers.py lists them.
_FIRST = 16 + len(SWITCHES)
_NEXT = _FIRST + len(HYPER)
globals().update({name.upper(): 16 + number for number, name in enumerate((*SWITCHES, *HYPER))})
# Clipping; scikit-learn's penalty, divided by the batch's weight; dropout of the inputs.
MAX_NORM, L2_PER_ROW, INPUT_DROPOUT = range(_NEXT, _NEXT + 3)
# The loss: its parameter, factors of value and slope, bounds of a value; whether Poisson's constant counts.
PARAMETER, VALUE_SCALE, SLOPE_SCALE, LOW, HIGH, FULL = range(_NEXT + 3, _NEXT + 9)
HEADER = _NEXT + 9
NETWORK = _record("Plan", "N_LAYERS", next(iter(HYPER)).upper(), "FULL")
network_at = record_at(NETWORK)
# The fields of SWITCHES, and of HYPER.
RULE_SWITCHES, RULE_NUMBERS = slice(16, _FIRST), slice(_FIRST, _NEXT)

# A layer. Places in `params`: weights and the distance of their rows, bias (-1: none), copy T and its distance.
FAN_IN, FAN_OUT, TRANSPOSED, W, LDW, B, T, LDT = range(8)
# Places in `work`, of the part's first row: the layer's input, with the distance of its rows; its output, likewise; z,
# or while training f'(z), if it is kept (-1: it is not); delta; delta of the input (-1: nobody asks).
ACTIVATION, A_IN, LD_IN, A, LD, Z, D, D_IN = range(8, 16)
# Blocks of weights: rows of each, number of the first one, how many. Place of their gradient in a slot.
BLOCK_ROWS, FIRST_BLOCK, BLOCKS, IN_SLOT = range(16, 20)
# Dropout of the output; penalties l1 sum |W| + l2 / 2 sum W^2.
DROPOUT, L1, L2 = range(20, 23)
RECORD = 23
LAYER = _record("Layer", "FAN_IN", "DROPOUT", "L2")
# layer_of(plan, k): layer k of the network whose record `plan` is.
layer_of = record_behind(NETWORK, LAYER, "n_layers")

# What a call is asked for: a mode; rows [begin, end) of the order; how many layers; the seed of dropout, or that there
# is none; whether several threads (2) or one (1) are at it; rows of a block of phase 1. `span`: rows of a pass, if the
# call makes several, from row 0 on, each with its own part of the order; else 0.
MODE, BEGIN, END, SPAN, LAYERS, SEED, TEAM, ROW_BLOCK = range(8)
# Whether targets are class codes. Addresses of entries that only some calls need, or 0 (machine/addressed.py): of
# `sparse.first_layer` for CSR rows, of `one.train_rows` for rows one by one, of `waiting_phase` if rows of W wait.
SPARSE, CODES, ONLINE, WAITS = range(8, 12)
# The weight of all rows, over which GRADIENT and VALUE take the mean; for TRAIN, whether a batch counts in `loss_sum`
# by the weight of its rows (1) or by their number (0).
MASS = 12
CALL = _record("Call", "MODE", "MASS", "MASS")
call_at = record_at(CALL)
TRAIN, GRADIENT, VALUE, PREDICT = range(4)
NO_DROPOUT = -1

# What a call adds up: losses times rows, batches done, NAdam's product of momenta. The others are of the call alone:
# batches before it, the sum after its last finished batch, the factor of clipping.
LOSS_SUM, STEPS, PRODUCT, STEPS_BEFORE, LOSS_KEPT, SCALE = range(6)
TOTALS = _record("Totals", "LOSS_SUM", "LOSS_SUM", "SCALE")
totals_at = record_at(TOTALS)
# They begin `numbers`; behind them are the coefficients of the step, the sum of the losses of each pass, each row's
# value, each row's weight, and two numbers for each block of weights: its penalty, and the square of its gradient.
MOST_PASSES = 64
COEFFICIENTS = 8
PASSES = COEFFICIENTS + -(-UNIT // 8) * 8
ROWS = PASSES + MOST_PASSES

# Rows whose gradient is summed in one go, from zero.
SUM_ROWS = 512
# Pieces of the first layer's W for a team, if they are many blocks each.
TEAM_PIECES = 16
# Batches after which no row of W waits any longer.
WINDOW = 16
# Where in `work` a row of zeros lies, from which sums without a bias start. Not a plain 0: a literal would be compiled
# for once more.
ZEROS = np.int64(0)

# Parts of a job: a call, from SYNC on the words of sync.py, from PLAN on a plan, behind it `numbers`.
SYNC = 16
PLAN = SYNC + SYNC_SIZE
# ask(job, 0, mode, begin, ..., mass) writes CALL's fields, in their order: faster than one by one.
ask = struct.Struct(
    "=" + "".join("qd"[place >= CALL.first_float] for place in CALL.fields.values())
).pack_into


# Parts of a job as arrays: numbers_at(job, place, count), words_at(job, place, count).
numbers_at, words_at = stretches("float64"), stretches("int64")

# At the end of a job if rows of W may wait: the steps of a window, the penalties of its pieces; two integers for each
# row; one for each piece.
WAITING = WINDOW * UNIT + TEAM_PIECES * WINDOW + TEAM_PIECES


def make_job(n_layers, part, n_blocks, threads, waiting=0):
    """Return the memory of a job, all zeros, and views of its parts: job, sync, plan, numbers.

    Behind the numbers each of the threads has a cursor for each row of a part. At the end is room for so many rows of W
    that may be `waiting`.
    """
    end = PLAN + HEADER + n_layers * RECORD
    cursors = end + ROWS + 2 * part + 2 * n_blocks
    job = np.zeros(cursors + threads * part + (WAITING + 2 * waiting if waiting else 0), np.int64)
    return job, job[SYNC:PLAN], job[PLAN:end], job[end:cursors].view(np.float64)


def behind(job, waiting):
    """Return how many steps of the window each of so many rows of W has had: before a call, all as many."""
    first = job.size - TEAM_PIECES - 2 * waiting
    return job[first : first + waiting]
