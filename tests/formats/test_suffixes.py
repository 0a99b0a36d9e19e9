"""The name of a file decides its format, or is refused before anything is written."""

import numpy as np
import pytest

import fastbp as fb
from fastbp.callbacks import Checkpoint
from fastbp.formats import safetensors


@pytest.fixture(scope="module", params=["Sequential", "MLPRegressor", "MLPClassifier"])
def model(request):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    if request.param == "Sequential":
        return fb.Sequential([fb.Dense(4, "tanh"), fb.Dense(1)], n_inputs=3)
    estimator = getattr(fb, request.param)(hidden_layer_sizes=(4,), solver="lbfgs", tol=1.0)
    return estimator.fit(x, x[:, 0] if request.param == "MLPRegressor" else x[:, 0] > 0)


def test_save_writes_what_the_name_says(tmp_path, model):
    for name in ("m.safetensors", "m.SAFETENSORS", "m"):
        model.save(tmp_path / name)
        assert type(fb.load(tmp_path / name)) is type(model)
    model.save(str(tmp_path / "m.c"))
    assert (tmp_path / "m.c").read_text() == fb.formats.to_c(model)


def test_save_writes_onnx(tmp_path, model):
    onnx = pytest.importorskip("onnx")
    model.save(tmp_path / "m.onnx")
    proto = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(proto)
    assert proto == fb.formats.to_onnx(model)


@pytest.mark.parametrize(
    "suffix", [".h5", ".hdf5", ".keras", ".pt", ".pth", ".pkl", ".joblib", ".json", ".bin"]
)
def test_other_names_are_refused(tmp_path, model, suffix):
    path = tmp_path / f"m{suffix}"
    with pytest.raises(ValueError, match=f"must end in .safetensors or .onnx or .c, got {suffix}"):
        model.save(path)
    with pytest.raises(ValueError, match=f"must end in .safetensors, got {suffix}"):
        safetensors.save(model, path)
    with pytest.raises(ValueError, match=f"must end in .c, got {suffix}"):
        fb.formats.to_c(model, path)
    with pytest.raises(ValueError, match=f"must end in .safetensors, got {suffix}"):
        Checkpoint(path)
    assert not list(tmp_path.iterdir())


def test_the_error_says_who_writes_it(tmp_path, model):
    for name, words in (("m.pt", "torch.save"), ("m.keras", "Keras"), ("m.pkl", "joblib.dump")):
        with pytest.raises(ValueError, match=words):
            model.save(tmp_path / name)
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match=r"m.safetensors: the name must end in .onnx, got .safetensors"):
        fb.formats.to_onnx(model, tmp_path / "m.safetensors")


def test_the_command_line_refuses_names_of_other_formats(tmp_path, capsys):
    from fastbp.cli import main

    assert main(["train", "iris", "--out", str(tmp_path / "m.onnx"), "--epochs", "1"]) != 0
    assert "must end in .safetensors, got .onnx" in capsys.readouterr().err
    model, table = tmp_path / "m.safetensors", tmp_path / "t.csv"
    table.write_text("a\n1\n")
    fb.Sequential([fb.Dense(1)], n_inputs=1).save(model)
    assert main(["predict", str(model), str(table), "--out", str(tmp_path / "p.parquet")]) != 0
    assert "must end in .csv or .txt, got .parquet" in capsys.readouterr().err
    assert not (tmp_path / "p.parquet").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "t.csv"]
