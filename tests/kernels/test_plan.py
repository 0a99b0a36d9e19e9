"""The plan and the job: numbers and names of a field mean the same place, and parts do not overlap."""

import math

import numpy as np
import pytest

from fastbp.kernels import optimizers, plan
from tests.kernels.oracles import compiled


@compiled
def asked(job):
    call = plan.call_at(job, 0)
    switches = call.team, call.row_block, call.sparse, call.codes, call.online, call.waits
    return call.mode, call.begin, call.end, call.span, call.layers, call.seed, *switches, call.mass


@compiled
def parts(job):
    header = plan.network_at(job, plan.PLAN)
    layer = plan.layer_of(header, header.n_layers - 1)
    totals = plan.totals_at(job, plan.PLAN + plan.HEADER + header.n_layers * plan.RECORD)
    return header.full, layer.l2, totals.loss_sum, totals.scale


@pytest.mark.parametrize(
    ("record", "size"),
    [(plan.NETWORK, plan.HEADER), (plan.LAYER, plan.RECORD), (plan.CALL, None), (plan.TOTALS, None)],
)
def test_a_name_is_the_place_of_its_number(record, size):
    assert list(record.fields.values()) == list(range(len(record.fields)))
    assert size in (None, len(record.fields))
    for name, place in record.fields.items():
        assert getattr(plan, name.upper()) == place


def test_what_a_call_is_asked_for():
    job, *_ = plan.make_job(1, 1, 1, 1)
    call = plan.GRADIENT, 3, 2**40, 7, 5, 2**63 - 1, 2, 64, 0, 1, 0, 1, 0.1
    plan.ask(job, 0, *call)
    assert asked(job) == call
    assert not np.any(job[plan.SYNC :])


def test_parts_of_a_job_lie_side_by_side():
    """Views of one array, which kernels find at the same places."""
    job, sync, words, numbers = plan.make_job(3, 7, 4, 2)
    assert words.size == plan.HEADER + 3 * plan.RECORD
    assert plan.SYNC + sync.size + words.size + numbers.size + 2 * 7 == job.size
    assert numbers.size == plan.ROWS + 2 * 7 + 2 * 4
    words[plan.N_LAYERS] = 3
    fields = words.view(np.float64)
    fields[plan.FULL] = 1.5
    fields[plan.HEADER + 2 * plan.RECORD + plan.L2] = 2.5
    numbers[[plan.LOSS_SUM, plan.SCALE]] = 3.5, math.pi
    assert parts(job) == (1.5, 2.5, 3.5, math.pi)
    assert plan.COEFFICIENTS > plan.SCALE
    assert plan.COEFFICIENTS + optimizers.UNIT <= plan.PASSES


def test_a_job_has_room_for_rows_that_wait():
    job, sync, words, numbers = plan.make_job(3, 7, 4, 2, 11)
    front = plan.SYNC + sync.size + words.size + numbers.size + 2 * 7
    assert job.size == front + plan.WAITING + 2 * 11
    behind = plan.behind(job, 11)
    behind[:] = 5
    place = front + plan.WINDOW * (optimizers.UNIT + plan.TEAM_PIECES)
    assert np.array_equal(np.flatnonzero(job), np.arange(place, place + 11))
