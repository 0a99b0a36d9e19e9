"""What the documentation says of searches."""

from bench.report import searches, tables
from bench.tests import measured


def results():
    """One data set on one core and on two; halving picked the best for one seed, the third best for the other."""
    key = "search/digits/{}/float64"
    cases = {}
    for threads in (1, 2):
        name = key.format(threads)
        cases[name] = measured.case(
            name, fastbp=2.0, fastbp_full=1.0, fastbp_halving=0.5, sklearn_grid=0.1, sklearn_halving=0.4
        )
        for peer, seeds in {
            "fastbp": [{"score": 0.95, "picked": 1}, {"score": 0.92, "picked": 0}],
            "fastbp-full": [
                {"score": 0.95, "picked": 1, "scores": [0.9, 0.95, 0.8]},
                {"score": 0.925, "picked": 2, "scores": [0.9205, 0.921, 0.925]},
            ],
            "sklearn-grid": [{"score": 0.9501, "picked": 1, "scores": [0.9, 0.9501, 0.8]}],
            "sklearn-halving": [{"score": 0.89, "picked": 0}],
        }.items():
            told = {str(seed): found for seed, found in enumerate(seeds)}
            cases[name]["peers"][peer]["told"] = told
    return {"format": tables.FORMAT, "machine": measured.MACHINE, "cases": cases}


def test_ratios():
    table = searches.ratios(results(), 1, "float64")
    assert table.title == "How many times as fast, on one core, so in CPU seconds"
    assert table.header == ("search", "beside", "digits", "aim")
    rows = {row[:2]: row[2:] for row in table.rows}
    assert rows["SearchCV(eta=3)", "GridSearchCV, scikit-learn's class"] == ("20.00x", "12x")
    assert rows["SearchCV(eta=3)", "HalvingGridSearchCV, fastbp's class"] == ("4.00x", "3x")
    assert rows["SearchCV(eta=None)", "GridSearchCV, scikit-learn's class"] == ("10.00x", "6x")
    assert rows["SearchCV(eta=3)", "GridSearchCV, fastbp's class"] == ("–", "–")  # not measured
    assert searches.ratios(results(), 2, "float64").title.endswith("2 cores, by the clock")


def test_what_halving_picked_and_gave_up():
    first, second = searches.scores(results()).rows
    assert first == ("digits, seed 0", "0.9501", "0.9500", "0.9500", "–", "1", "0.0000", "0.0501")
    assert second == ("digits, seed 1", "–", "0.9250", "0.9200", "–", "3", "0.0045", "–")


def test_a_disturbed_case_is_not_compared():
    disturbed = results()
    disturbed["cases"]["search/digits/1/float64"]["peers"]["sklearn-grid"] = {
        "status": "stolen",
        "note": "no clean run",
    }
    assert searches.ratios(disturbed, 1, "float64").header == ("search", "beside", "aim")


def test_section_with_and_without_searches():
    assert searches.section(results()).count(".. list-table::") == 3
    assert searches.section(measured.results()) == "No search was measured on this machine."


def test_every_peer_has_a_name():
    assert list(searches.NAMES) == [peer.name for peer in tables.SUITES["search"].peers]
    assert {name for pair in searches.PAIRS for name in pair} <= searches.NAMES.keys()
