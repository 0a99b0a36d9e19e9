"""fastbp explain: the tutorial's order, its numbers, networks of any shape from anywhere, and the kernels' verdict."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import fastbp as fb
from fastbp import reference as ref
from fastbp.cli import explain
from fastbp.cli.arguments import make_parser
from fastbp.explaining import agreement as explain_agreement
from fastbp.explaining import entries as explain_entries
from fastbp.explaining import steps as explain_steps
from fastbp.explaining import text as explain_text
from fastbp.explaining.problem import Problem
from fastbp.tables.errors import InputError


def parse(*argv):
    return make_parser().parse_args(["explain", *argv])


def text_of(capsys, *argv):
    assert explain.run(parse(*argv)) == 0
    return capsys.readouterr().out


def json_of(capsys, *argv):
    return json.loads(text_of(capsys, *argv, "--json"))


def values(document, step=0):
    return {entry["name"]: entry["value"] for entry in document["steps"][step]}


def test_the_tutorials_order(capsys):
    document = json_of(capsys)
    names = [(entry["part"], entry["name"]) for entry in document["steps"][0]]
    assert names == [
        ("forward", "v_in(1)"),
        ("forward", "v_out(1)"),
        ("forward", "v_in(2)"),
        ("forward", "y_hat"),
        ("error", "E"),
        ("error", "loss"),
        ("backward", "delta(2)"),
        ("backward", "delta(1)"),
        ("backward", "delta(0)"),
        ("update", "W(1->2)"),
        ("update", "W(0->1)"),
    ]


def test_the_numbers_by_matrices(capsys):
    """The example of the tutorial in its own formulas, with NumPy."""
    document = json_of(capsys)
    W01, W12 = (np.array(W) for W in document["weights"])
    x, y, lr = np.array(document["input"]), np.array(document["target"]), document["learning_rate"]

    def f(v):
        return 1 / (1 + np.exp(-v))

    v1 = W01.T @ x
    a1 = f(v1)
    v2 = W12.T @ a1
    y_hat = f(v2)
    E = y - y_hat
    downhill2 = E * f(v2) * (1 - f(v2))  # the tutorial's sign
    downhill1 = (W12 @ downhill2) * f(v1) * (1 - f(v1))
    expected = {
        "v_in(1)": v1,
        "v_out(1)": a1,
        "v_in(2)": v2,
        "y_hat": y_hat,
        "E": E,
        "loss": 0.5 * E**2,
        "delta(2)": -downhill2,
        "delta(1)": -downhill1,
        "delta(0)": -(W01 @ downhill1),
        "W(1->2)": W12 + lr * np.outer(a1, downhill2),
        "W(0->1)": W01 + lr * np.outer(x, downhill1),
    }
    found = values(document)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array(found[name]) == pytest.approx(value, rel=1e-12), name
    assert document["loss_after"] < found["loss"][0]
    assert any("uphill" in note for note in document["notes"])


def test_the_kernels_agree(capsys):
    document = json_of(capsys, "--sizes", "4,5,3,2", "--activation", "tanh", "--bias", "--steps", "3")
    differences = document["kernels"]["largest_difference"]
    assert {"v_out(1)", "v_out(2)", "y_hat", "E", "loss", "delta(3)", "delta(0)", "W(0->1)", "b(3)"} <= set(
        differences
    )
    assert max(differences.values()) < 1e-12


@pytest.mark.parametrize("activation", ref.ACTIVATIONS)
def test_every_activation(capsys, activation):
    document = json_of(capsys, "--activation", activation, "--seed", "3", "--bias")
    assert document["activations"] == [activation] * 2
    assert max(document["kernels"]["largest_difference"].values()) < explain_agreement.SAME
    text = text_of(capsys, "--activation", activation)
    assert f"f = {activation}: {explain_entries.formulas(activation)[0]}" in text


def test_several_steps_go_on_from_each_other(capsys):
    two = json_of(capsys, "--steps", "2")
    first = values(two, 0)
    layers = [ref.Layer(first[name], None, "sigmoid") for name in ("W(0->1)", "W(1->2)")]
    again = explain_steps.explain(Problem(layers, [two["input"]], [two["target"]]), 0.5)
    assert values(two, 1) == {entry.name: entry.value for entry in again.steps[0]}
    assert "Step 2 of 2" in text_of(capsys, "--steps", "2")
    assert " -> ... -> " in text_of(capsys, "--steps", "12")


def test_layers_may_differ_and_inputs_be_given(capsys):
    document = json_of(
        capsys,
        *(
            "--sizes",
            "2,3,2",
            "--activation",
            "relu,sigmoid",
            "--input=-1,2",
            "--target",
            "0,1",
            "--lr",
            "0.1",
        ),
    )
    assert document["sizes"] == [2, 3, 2]
    assert document["activations"] == ["relu", "sigmoid"]
    assert (document["input"], document["target"]) == ([-1.0, 2.0], [0.0, 1.0])


def test_seeded_weights_are_those_of_sequential(capsys):
    document = json_of(capsys, "--sizes", "4,3,2", "--seed", "7")
    net = fb.Sequential([fb.Dense(3), fb.Dense(2)], n_inputs=4, dtype="float64", seed=7)
    for W, expected in zip(document["weights"], net.weights, strict=True):
        assert np.array_equal(W, expected)


def test_json_comes_back_as_weights(capsys, tmp_path):
    document = json_of(capsys, "--sizes", "2,2,2", "--activation", "tanh", "--bias", "--seed", "1")
    path = tmp_path / "net.json"
    path.write_text(json.dumps(document))
    again = json_of(capsys, "--weights", str(path))
    assert again["steps"] == document["steps"]
    assert again["source"] == f"Weights from {path}"


def test_weights_of_a_saved_network(capsys, tmp_path):
    net = fb.Sequential([fb.Dense(3, "relu", l2=0.1), fb.Dropout(0.5), fb.Dense(1)], n_inputs=2, seed=1)
    net.save(tmp_path / "m.safetensors")
    document = json_of(capsys, "--weights", str(tmp_path / "m.safetensors"))
    x = np.array([document["input"]], np.float32)
    assert values(document)["y_hat"] == pytest.approx(net.predict(x)[0].tolist(), rel=1e-5)
    assert "left out" in document["notes"][0]
    assert document["biases"][0] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_of_a_saved_classifier(capsys, tmp_path, n_classes, rng):
    X, y = rng.normal(size=(30, 2)), np.arange(30) % n_classes
    model = fb.MLPClassifier((4,), activation="logistic", max_iter=3, early_stopping=False, random_state=0)
    with pytest.warns(Warning, match="converged"):
        model.fit(X, y)
    fb.formats.save(model, tmp_path / "m.safetensors")
    document = json_of(capsys, "--weights", str(tmp_path / "m.safetensors"), "--input", "0.5,1")
    assert document["activations"] == ["sigmoid", "sigmoid" if n_classes == 2 else "identity"]
    y_hat = np.array(values(document)["y_hat"])
    proba = model.predict_proba([[0.5, 1.0]])[0]
    if n_classes == 2:
        assert y_hat == pytest.approx(proba[1:])
    else:
        assert np.exp(y_hat) / np.exp(y_hat).sum() == pytest.approx(proba)
        assert "logits" in document["notes"][0]


def test_text_shows_formula_and_arithmetic(capsys):
    text = text_of(capsys)
    assert "v_in(1)[1] = 0.4*1 + 0.1*0.5 + (-0.2)*(-0.5) = 0.55" in text
    assert "delta(1) = (W(1->2) delta(2)) f'(v_in(1)), f' = f (1 - f)" in text
    assert "delta(0) = W(0->1) delta(1), the error felt by the inputs" in text
    assert "W(0->1) <- W(0->1) - lr x delta(1)'" in text
    assert "tutorials' delta" in " ".join(text.split())
    assert re.search(r"the same numbers, largest difference \d", text)
    assert "\033" not in text  # no colors in a pipe
    positions = [text.index(part) for part in explain_text.PARTS.values()]
    assert positions == sorted(positions)


@pytest.mark.parametrize("columns", ["60", "80", "200"])
@pytest.mark.parametrize("sizes", ["3,2,1", "1,1", "7,7,7", "30,40,20"])
def test_text_fits_the_terminal(capsys, monkeypatch, columns, sizes):
    monkeypatch.setenv("COLUMNS", columns)
    text = text_of(capsys, "--sizes", sizes, "--seed", "0", "--bias")
    assert max(map(len, text.splitlines())) <= int(columns)
    assert ("shown in part" in text) == (sizes in ("7,7,7", "30,40,20"))
    assert ("30 rows, 40 columns" in text) == (sizes == "30,40,20")


def test_the_tutorials_sign(capsys):
    up, down = json_of(capsys), json_of(capsys, "--sign", "downhill")
    assert values(down)["delta(1)"] == [-v for v in values(up)["delta(1)"]]
    assert values(down)["W(0->1)"] == values(up)["W(0->1)"]
    assert any("points downhill and is added" in note for note in down["notes"])
    assert "W(0->1) <- W(0->1) + lr x delta(1)'" in text_of(capsys, "--sign", "downhill")


def test_a_terminal_gets_bold_headings(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\033[1mForward" in text_of(capsys)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert "\033" not in text_of(capsys)


def test_a_kernel_that_differs_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(explain_agreement, "agreement", lambda *_: {"y_hat": 0.5, "E": 0.0})
    with pytest.raises(RuntimeError, match="differ from the reference in y_hat"):
        explain.run(parse())
    assert "NOT the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ("--sizes", "3,x"),
        ("--sizes", "3,0,1"),
        ("--activation", "sigmoidal"),
        ("--seed", "-1"),
        ("--lr", "nan"),
        ("--lr", "0"),
        ("--steps", "0"),
        ("--sign", "sideways"),
        ("--input", "1,,2"),
        ("--target", "inf"),
    ],
)
def test_wrong_usage(argv):
    with pytest.raises(SystemExit, match="2"):
        parse(*argv)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--sizes", "3"), "at least one layer"),
        (("--input", "1,2"), "input: the network has 3 inputs, got 2 numbers"),
        (("--target", "1,2"), "target: the network has 1 outputs, got 2 numbers"),
        (("--activation", "relu,tanh,exp"), "expected one name or 2"),
        (("--weights", "x.json", "--sizes", "2,1"), "leave out --sizes"),
        (("--weights", "x.json", "--seed", "1"), "leave out --seed"),
        (("--weights", "x.json", "--bias"), "leave out --bias"),
        (("--weights", "m.safetensors", "--activation", "relu"), "leave out --activation"),
        (("--activation", "exp", "--input=-900,900,900"), "beyond what a float can hold"),
    ],
)
def test_options_that_do_not_fit(argv, message):
    with pytest.raises(InputError, match=message):
        explain.run(parse(*argv))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ('{"weights": []}', "expected an object"),
        ('{"weights": [[[1, 2], [3]]]}', r"weights\[0\] must be a list of rows"),
        ('{"weights": [[[1, "a"]]]}', r"weights\[0\] must be a list of rows"),
        ('{"weights": [[[1, NaN]]]}', r"weights\[0\] must be a list of rows"),
        ('{"weights": [[[1, true]]]}', r"weights\[0\] must be a list of rows"),
        ('{"weights": [[]]}', r"weights\[0\] must be a list of rows"),
        ('{"weights": [[[1, 2]], [[1]]]}', r"weights\[1\] has 1 rows, but the layer before has 2 units"),
        ('{"weights": [[[1, 2]]], "biases": [[1]]}', r"biases\[0\] must be null or 2 numbers"),
        ('{"weights": [[[1, 2]]], "biases": [[1, 2], null]}', '"biases" must be a list of 1'),
        ('{"weights": [[[1]]], "activations": ["relu", "relu"]}', "expected one name or 1"),
        ('{"weights": [[[1]]], "activations": ["magic"]}', "'magic'"),
        ('{"weights": [[[1]]], "activations": 3}', "got 3"),
        ('{"weights": [[[1]]], "input": "one"}', "input: the network has 1 inputs, got 'one'"),
    ],
)
def test_bad_json(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        explain.problem_of(parse("--weights", str(path)))


def test_activation_for_json_without_one(tmp_path):
    path = tmp_path / "net.json"
    path.write_text('{"weights": [[[1.0]]]}')
    assert explain.problem_of(parse("--weights", str(path))).layers[0].activation == "sigmoid"
    assert (
        explain.problem_of(parse("--weights", str(path), "--activation", "tanh")).layers[0].activation
        == "tanh"
    )
    path.write_text('{"weights": [[[1.0]]], "activation": "relu"}')
    assert explain.problem_of(parse("--weights", str(path))).layers[0].activation == "relu"
    with pytest.raises(InputError, match="leave out --activation"):
        explain.problem_of(parse("--weights", str(path), "--activation", "tanh"))


def test_command_line(tmp_path):
    done = subprocess.run([sys.executable, "-m", "fastbp", "explain"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the same numbers" in done.stdout
    missing = subprocess.run(
        [sys.executable, "-m", "fastbp", "explain", "--weights", str(tmp_path / "no.json")],
        capture_output=True,
        text=True,
    )
    assert missing.returncode == 1
    assert "no.json" in missing.stderr
    assert missing.stderr.count("\n") == 1
