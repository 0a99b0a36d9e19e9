"""The plan: what a kernel must know of a network and a run, as one array of integers and one of numbers.

Architecture, activations, loss and optimizer are data, so that one compilation serves them all. `plan` (int64) holds
HEADER fields, then RECORD fields for each layer; `hyper` (float64) holds HYPER fields, then LAYER_HYPER for each layer.
Offsets count elements: those of weights point into `params`, those of activations into `work`. fastbp/engine.py writes
plans, kernels read them.

A layer's weights are stored as W, rows of `fan_out` padded to 64 bytes, or (TRANSPOSED, narrow outputs) as W', rows of
`fan_in`; the padding is zero and stays zero. T is a copy in the other orientation, kept beside theta: the forward
product reads W, the backward product W', both row by row.
"""

# Header of `plan`
N_LAYERS, N_PARAMS, BATCH, ROW_BLOCK, ZEROS = 0, 1, 2, 3, 4
LOSS, CLASS_INDEX, RULE, NESTEROV, EPS_INSIDE, VELOCITY = 5, 6, 7, 8, 9, 10
N_BLOCKS, ONLINE, WANT_INPUTS, SPARSE, CLIPPED, N_OUT, WORK_SIZE, PART = 11, 12, 13, 14, 15, 16, 17, 18
SLOT, PANEL, PANEL_SIZE = 19, 20, 21
HEADER = 22

# Fields of a layer's record in `plan`
FAN_IN, FAN_OUT, TRANSPOSED, W, LDW, B, T, LDT = 0, 1, 2, 3, 4, 5, 6, 7
ACTIVATION, A_IN, LD_IN, A, LD, Z, D, D_IN = 8, 9, 10, 11, 12, 13, 14, 15
BLOCK_ROWS, FIRST_BLOCK, BLOCKS, IN_SLOT = 16, 17, 18, 19
RECORD = 20

# Header of `hyper`
BETA1, BETA2, EPS, MOMENTUM, WEIGHT_DECAY, PARAMETER = 0, 1, 2, 3, 4, 5
VALUE_SCALE, SLOPE_SCALE, LOW, HIGH, FULL, MAX_NORM = 6, 7, 8, 9, 10, 11
ALPHA, RHO, MOMENTUM_DECAY, ETA_MINUS, ETA_PLUS, STEP_MIN, STEP_MAX, INPUT_DROPOUT = (
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
)
L2_PER_ROW = 20
HYPER = 24

# Fields of a layer in `hyper`
DROPOUT, L1, L2 = 0, 1, 2
LAYER_HYPER = 3
