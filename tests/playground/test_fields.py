"""What can be chosen, and the links that hold it."""

from urllib.parse import parse_qs

import pytest

from fastbp.playground import learner, starts
from fastbp.playground.fields import BATCH_SIZES, RATES, batch_size, checked, link, read_link

ALL = {"learning": learner.FIELDS, "starting": starts.FIELDS}


def arguments(query):
    """A query string as the server reads it."""
    return {name: [value.encode() for value in values] for name, values in parse_qs(query[1:]).items()}


@pytest.mark.parametrize("tab", ALL)
def test_a_link_restores_every_choice(tab):
    fields = ALL[tab]
    for pick in (0, len, -1):
        chosen = {
            name: field.options[len(field.options) // 2 if pick is len else pick]
            for name, field in fields.items()
        }
        assert read_link(tab, fields, arguments(link(tab, fields, chosen))) == (chosen, [])


@pytest.mark.parametrize("tab", ALL)
def test_defaults_are_options_and_make_a_short_link(tab):
    fields = ALL[tab]
    assert all(field.default in field.options for field in fields.values())
    assert link(tab, fields, checked(fields, {})) == f"?tab={tab}"


def test_what_a_link_must_not_ask_for_is_said_and_left_out():
    given = {"tab": [b"learning"], "units": [b"1000000"], "shell": [b"ls"], "rate": [b"0.1"], "seed": []}
    values, faults = read_link("learning", learner.FIELDS, given)
    assert values == checked(learner.FIELDS, {"rate": "0.1"})
    assert len(faults) == 2 and "'1000000'" in faults[0] and "'shell'" in faults[1]


def test_complaints_about_a_link_are_bounded():
    given = {f"a{k}": [b"\xff" * 10_000] for k in range(100)}
    faults = read_link("learning", learner.FIELDS, given)[1]
    assert len(faults) <= 3 and max(map(len, faults)) < 500


def test_the_link_of_another_tab_says_nothing_of_this_one():
    values, faults = read_link("learning", learner.FIELDS, {"tab": [b"starting"], "rate": [b"0.1"]})
    assert (values, faults) == (checked(learner.FIELDS, {}), [])


def test_rates_ascend_and_neighbors_are_close():
    rates = [float(rate) for rate in RATES]
    assert rates[0] == 1e-4 and rates[-1] == 10
    assert all(1.03 < after / before < 1.17 for before, after in zip(rates, rates[1:], strict=False))


def test_batches_are_no_larger_than_the_rows():
    assert [batch_size(option, 20) for option in BATCH_SIZES] == [20, 20, 20, 10, 3, 1]
    assert [batch_size(option, 140) for option in BATCH_SIZES] == [140, 100, 32, 10, 3, 1]
