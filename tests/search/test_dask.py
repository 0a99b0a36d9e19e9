"""scikit-learn's searches with our class on a cluster: the same result, also if a worker is killed meanwhile."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

PROGRAM = """
import json
import os
import signal
import sys
import warnings

import joblib
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from fastbp import MLPClassifier

PLACE = sys.argv[1]
DEATH = os.path.join(PLACE, "death")


def noted(model, X, y):
    '''The accuracy, and a file named after the process.'''
    open(os.path.join(PLACE, str(os.getpid())), "w").close()
    return model.score(X, y)


def fatal(model, X, y):
    '''The accuracy; but who is the first to score is killed.'''
    try:
        with open(DEATH, "x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return model.score(X, y)
    os.kill(os.getpid(), signal.SIGKILL)


def main():
    warnings.simplefilter("ignore")  # of the few epochs
    X, y = load_digits(return_X_y=True)
    X, y = X[:600] / 16, y[:600]
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, y))
    model = MLPClassifier(max_iter=20, random_state=0, n_threads=1)
    grid = {"alpha": [1e-4, 1.0], "hidden_layer_sizes": [(16,), (32,), (16, 16)]}

    def searched(scoring):
        search = GridSearchCV(model, grid, cv=folds, scoring=scoring).fit(X, y)
        return search.cv_results_["mean_test_score"].tolist(), search.predict_proba(X[:5]).tolist()

    told = {"alone": searched(None)}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        before = set(client.run(os.getpid).values())
        # Else only one copy of what was scattered is kept, and would be lost with its worker.
        client.amm.stop()
        everywhere = [X, y, *(rows for fold in folds for rows in fold)]
        with joblib.parallel_config("dask", scatter=everywhere):
            told["cluster"] = searched(noted)
        fitted = {int(name) for name in os.listdir(PLACE)}
        told["both workers fitted"] = fitted == before
        with joblib.parallel_config("dask", scatter=everywhere):
            told["killed"] = searched(fatal)
        with open(DEATH) as file:
            told["killed a worker"] = int(file.read()) in before
    print(json.dumps(told))


if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a program says that searches alone, on a local cluster, and there again with a worker killed."""
    place = tmp_path_factory.mktemp("cluster")
    program = place / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    (place / "processes").mkdir()
    done = subprocess.run(
        [sys.executable, str(program), str(place / "processes")],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_cluster_finds_the_same(told):
    assert told["both workers fitted"]
    assert told["cluster"] == told["alone"]


def test_a_worker_is_killed(told):
    assert told["killed a worker"]
    assert told["killed"] == told["alone"]
