"""Training: it learns, it repeats itself, it chooses on val alone, and it leaves the encoder as it was."""

import json
import random
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from parlib import BadInput, fit, load_encoder, predict, schema
from parlib.cli import main
from parlib.data import read_release
from parlib.learn.inputs import prepare, two_sided
from parlib.learn.methods import new_head
from parlib.learn.run import evaluate_run, train_run
from parlib.learn.train import TrainOptions, calibrate, logits_of, with_mirrored

PA100K = schema("pa100k")
SMALL = {"width": 16, "heads": 2, "grid": 2}


@pytest.fixture(scope="module")
def setting(rendered, tmp_path_factory):
    encoder, cache = load_encoder("nano"), tmp_path_factory.mktemp("cache")
    release = read_release("pa100k", rendered)
    parts = {s: prepare(release, s, encoder, cache, progress=False) for s in ("train", "val", "test")}
    return encoder, cache, parts


def trained(setting, seed=0, **options):
    encoder, _, parts = setting
    head = new_head(PA100K, encoder, seed, **SMALL)
    history = fit(head, parts["train"], parts["val"], TrainOptions(epochs=3, batch_size=8, threads=1, **options), seed)
    return head, history


def test_training_lowers_the_loss_and_keeps_the_best_epoch_on_val(setting):
    head, history = trained(setting, lr=3e-3)
    losses = [row["loss"] for row in history.epochs]
    assert losses[-1] < losses[0]
    best = max(row["mAP"] for row in history.epochs)
    assert history.epochs[history.best_epoch]["mAP"] == best
    assert not head.training


def test_training_in_bfloat16_stays_near_training_in_fp32(setting, monkeypatch):
    store = setting[2]["test"].store
    full = predict(trained(setting, bf16="never")[0], store)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert 0 < abs(predict(trained(setting, bf16="native")[0], store) - full).max() < 0.05
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    if not torch.cuda.is_available():
        assert np.array_equal(predict(trained(setting, bf16="native")[0], store), full)


def test_a_batch_that_memory_does_not_hold_is_trained_on_in_parts_to_the_same_weights(setting, monkeypatch):
    """Labels are known in unequal numbers, so a part's share of the loss is not that of its images."""
    encoder, _, parts = setting
    store, labels = parts["train"].store, parts["train"].labels.copy()
    labels[::3, 1:] = -1
    made = {}
    for memory in (2**31, 1):
        monkeypatch.setattr("parlib.learn.head.memory_budget", lambda device, memory=memory: memory)
        made[memory] = new_head(PA100K, encoder, **SMALL, dropout=0.0)
        assert made[memory].images_at_once(8, encoder.device) == (8 if memory > 1 else 1)
        history = fit(made[memory], (store, labels), parts["val"], TrainOptions(epochs=2, batch_size=8, threads=1))
        made[memory].loss = history.epochs[0]["loss"]
    whole, halves = made.values()
    assert halves.loss == pytest.approx(whole.loss, rel=1e-4)
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-4)
    monkeypatch.undo()
    assert new_head(PA100K, encoder, norm_logits=True, **SMALL).images_at_once(10**9, encoder.device) == 10**9


def test_no_step_waits_for_a_gpu(setting):
    """No operator that brings a number from the device to Python, or whose shape depends on values."""
    steps, waits = [], []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.overloadpacket._qualified_op_name in ("aten::_local_scalar_dense", "aten::nonzero"):
                waits.append(len(steps))
            return function(*args, **(kwargs or {}))

    encoder, _, parts = setting
    options = TrainOptions(epochs=1, batch_size=8, threads=1)  # an average of weights reads its counter, on the CPU
    for head in (new_head(PA100K, encoder, preset=preset) for preset in ("paper", "compact", "recommended")):
        steps.clear(), waits.clear()
        with Recorder():
            fit(head, parts["train"], parts["val"], options, callback=lambda epoch, *seen: steps.append(epoch))
        last = len(steps) - 1  # the callback of the epoch
        assert last > 3 and last in waits, "the end of an epoch does wait"
        assert not [step for step in waits if 0 < step < last - 1]


def test_one_seed_gives_one_result_and_another_seed_another(setting):
    one, two, other = (predict(trained(setting, seed)[0], setting[2]["test"].store) for seed in (0, 0, 1))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_the_encoder_is_the_same_after_training(setting):
    encoder = setting[0]
    trained(setting)
    assert load_encoder("nano").identity["weights"] == encoder.identity["weights"]
    assert not encoder.model.training


def test_the_callback_sees_every_step_and_every_epoch(setting):
    encoder, _, parts = setting
    seen = []
    head = new_head(PA100K, encoder, **SMALL)
    options = TrainOptions(epochs=2, batch_size=16, threads=1)
    fit(head, parts["train"], parts["val"], options, callback=lambda *what: seen.append(what))
    assert [what[:3] for what in seen[:4]] == [(0, 1, 3), (0, 2, 3), (0, 3, 3), (0, 3, 3)]
    assert isinstance(seen[3][3], dict) and len(seen) == 8


def test_labels_that_do_not_fit_are_named(setting):
    encoder, _, parts = setting
    head = new_head(PA100K, encoder, **SMALL)
    with pytest.raises(
        BadInput, match=r"train: labels are \(5, 26\), but features and the head's attributes \(40, 26\)"
    ):
        fit(head, (parts["train"].store, parts["train"].labels[:5]), parts["val"])
    for options, said in (
        ({"loss": "hinge"}, "unknown loss 'hinge'; known: bce, ce, smoothed, focal, deepmar, asymmetric, adjusted"),
        ({"sampling": "rare"}, "unknown sampling 'rare'; known: shuffled, balanced"),
        ({"select": "test mA"}, "unknown select 'test mA'; known: mA"),
        ({"bf16": "yes"}, "unknown bf16 'yes'; known: never, gpu, native"),
        ({"epochs": 0}, "0 epochs"),
    ):
        with pytest.raises(BadInput, match=said):
            fit(head, parts["train"], parts["val"], TrainOptions(**options))


def test_a_run_is_saved_scored_and_repeated_exactly(setting, rendered, tmp_path):
    options = TrainOptions(epochs=1, batch_size=16, threads=1)
    for name in ("a", "b"):
        train_run("pa100k", rendered, "nano", 3, tmp_path / name, setting[1], options, **SMALL)
    one, two = evaluate_run(tmp_path / "a"), evaluate_run(tmp_path / "b")
    assert one == two
    assert one["data"]["kind"] == "rendered" and one["data"]["images"] == 24
    assert {p.name for p in (tmp_path / "a").iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "run.json",
        "test.json",
        "test.npz",
    }
    with pytest.raises(BadInput, match="exists already"):
        train_run("pa100k", rendered, "nano", 3, tmp_path / "a", setting[1], options, **SMALL)


def test_the_commands_print_the_same_json_for_the_same_seed(rendered, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PARLIB_CACHE", str(tmp_path / "cache"))
    printed = []
    for name in ("a", "b"):
        where = ["--root", str(rendered), "--encoder", "nano", "--seed", "0", "--epochs", "1"]
        assert main(["train", "--benchmark", "pa100k", *where, "--out", str(tmp_path / name)]) == 0
        capsys.readouterr()
        assert main(["evaluate", str(tmp_path / name), "--split", "test"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    scores = json.loads(printed[0])
    keys = {"mA", "accuracy", "precision", "recall", "f1", "plain_accuracy", "mAP"}
    assert keys <= set(scores) and keys <= set(scores["tuned"])


@pytest.mark.parametrize("options", [{}, {"ema": 0.9, "sampling": "balanced", "patience": 3}])
def test_training_stopped_anywhere_goes_on_to_the_same_bits(setting, tmp_path, options):
    _, _, parts = setting

    def run(stop=None):
        def callback(epoch, step, steps, seen):
            if (epoch, step) == stop and not isinstance(seen, dict):
                raise KeyboardInterrupt

        head = new_head(PA100K, setting[0], 0, **{**SMALL, "dropout": 0.1, "norm_logits": True})
        how = TrainOptions(epochs=4, batch_size=16, threads=1, lr=5e-3, **options)
        return head, fit(head, parts["train"], parts["val"], how, 0, callback, tmp_path / "checkpoint")

    whole, history = run()
    (tmp_path / "checkpoint").unlink()
    for stop in ((0, 2), (2, 1), (3, 3)):
        with pytest.raises(KeyboardInterrupt):
            run(stop)
    again, resumed = run()
    assert resumed == history
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.long
def test_a_killed_command_goes_on_to_the_same_files(rendered, tmp_path, monkeypatch):
    monkeypatch.setenv("PARLIB_CACHE", str(tmp_path / "cache"))
    command = [sys.executable, "-m", "parlib", "train", "--root", str(rendered), "--epochs", "12", "--out"]
    assert main([*command[3:], str(tmp_path / "whole")]) == 0
    checkpoint, delays = tmp_path / ".killed.checkpoint", random.Random(time.time())
    for _ in range(2):
        running = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
        while running.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.005)
        time.sleep(delays.uniform(0, 0.2))
        running.kill()
        running.wait()
    assert checkpoint.exists() and not (tmp_path / "killed").exists(), "it was done before it was killed"
    assert main([*command[3:], str(tmp_path / "killed")]) == 0
    assert not checkpoint.exists()
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    one, two = (json.loads((tmp_path / n / "run.json").read_text()) for n in ("killed", "whole"))
    assert one["history"] == two["history"]


@pytest.mark.long
def test_two_processes_train_what_one_trains(rendered, tmp_path, monkeypatch):
    monkeypatch.setenv("PARLIB_CACHE", str(tmp_path / "cache"))
    train = ["train", "--root", str(rendered), "--epochs", "3", "--batch-size", "8", "--out"]
    assert main([*train, str(tmp_path / "one")]) == 0
    launch = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",  # how accelerate is asked for several processes; without a GPU they use the processors
        "--num_processes",
        "2",
        "--main_process_port",
    ]
    made = subprocess.run(
        [*launch, "0", "-m", "parlib", *train, str(tmp_path / "two")], capture_output=True, text=True, timeout=200
    )
    assert made.returncode == 0, made.stderr[-2000:]
    assert made.stdout.count(str(tmp_path / "two")) == 1, "one process writes and says so"
    one, two = (json.loads((tmp_path / n / "run.json").read_text())["history"] for n in ("one", "two"))
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, abs=2e-3)
    scores = [evaluate_run(tmp_path / n)["scores"] for n in ("one", "two")]
    assert scores[0] == pytest.approx(scores[1], abs=5e-3)


def test_a_checkpoint_of_another_training_is_refused(setting, tmp_path):
    encoder, _, parts = setting
    head, checkpoint = new_head(PA100K, encoder, **SMALL), tmp_path / "checkpoint"
    for options in (TrainOptions(epochs=1, threads=1), TrainOptions(epochs=2, threads=1)):
        if options.epochs == 2:
            with pytest.raises(BadInput, match=r"is of another training \(options, data or head\): remove it"):
                fit(head, parts["train"], parts["val"], options, checkpoint=checkpoint)
        else:
            fit(head, parts["train"], parts["val"], options, checkpoint=checkpoint)
    checkpoint.write_bytes(b"half")
    with pytest.raises(BadInput, match="cannot be read"):
        fit(head, parts["train"], parts["val"], options, checkpoint=checkpoint)


def test_patience_stops_after_epochs_without_a_better_score(setting):
    history = trained(setting, lr=0.0, patience=1)[1]
    assert len(history.epochs) == 2 and history.best_epoch == 0


def test_an_average_of_weights_is_kept_in_their_place(setting):
    plain, averaged = (trained(setting, lr=1e-2, ema=ema)[0] for ema in (0.0, 0.999))
    start = new_head(PA100K, setting[0], 0, **SMALL)
    near, far = ((m.classifier - start.classifier).abs().mean() for m in (averaged, plain))
    assert 0 < near < far / 3


def test_mirrored_images_are_trained_on_and_averaged(rendered, setting):
    encoder, cache, _ = setting
    both = {"mirrored": True, "progress": False}
    train, val = (prepare(read_release("pa100k", rendered), s, encoder, cache, **both) for s in ("train", "val"))
    head = new_head(PA100K, encoder, **SMALL)
    fit(head, train, val, TrainOptions(epochs=1, mirrored=True, threads=1))
    plain, mirrored = with_mirrored(val.store, True)
    want = (logits_of(head, plain) + logits_of(head, mirrored)) / 2
    torch.testing.assert_close(logits_of(head, val.store, mirrored=True), want)
    assert not torch.equal(logits_of(head, plain), logits_of(head, mirrored))


def one_sided(part):
    """The labels of a split with column 3 unknown, column 7 always no, column 8 always yes; and notes on them."""
    labels = part.labels.copy()
    labels[:, 3], labels[:, 7], labels[:, 8] = -1, 0, 1
    split, what = part.about["split"], {3: "all unknown", 7: "no positive", 8: "no negative"}
    return labels, {f"{PA100K.names[a]}: {words} in {split}" for a, words in what.items()}


@pytest.mark.parametrize("split", ["train", "val"])
def test_attributes_with_one_answer_are_named_and_never_called_calibrated(setting, split):
    encoder, _, parts = setting
    labels, want = one_sided(parts[split])
    data = {s: (parts[s].store, labels if s == split else parts[s].labels) for s in ("train", "val")}
    head = new_head(PA100K, encoder, **SMALL)
    with pytest.warns(
        UserWarning, match=f"cannot be learned or calibrated .*no negative in {split}: {PA100K.names[8]}"
    ):
        fit(head, *data.values(), TrainOptions(epochs=1, loss="adjusted", threads=1))
    complete, notes = two_sided(data["train"][1], data["val"][1], head.names)
    assert want <= set(notes) and not complete[[3, 7, 8]].any() and complete.any()
    head.temperature.fill_(3)
    with warnings.catch_warnings(record=True) as seen:
        assert want <= set(calibrate(head, *data.values()))
    assert not any("cannot be learned" in str(warning.message) for warning in seen), "fit has said it"
    assert not head.calibrated[[3, 7, 8]].any()
    assert (head.thresholds[[3, 7, 8]] == 0.5).all() or split == "train", "nothing to tune a threshold on"


@pytest.mark.parametrize("split", ["train", "val"])
def test_training_stops_where_no_attribute_has_both_answers(setting, split):
    """As with a table in which a column for "no" was read as unknown: every known label is a yes."""
    encoder, _, parts = setting
    data = {s: (parts[s].store, np.where(parts[s].labels == 1, 1, -1) if s == split else parts[s].labels) for s in
            ("train", "val")}  # fmt: skip
    for select in ("mAP", "accuracy"):
        with pytest.raises(BadInput, match=f"{split}: no attribute has both a yes and a no"):
            fit(new_head(PA100K, encoder, **SMALL), *data.values(), TrainOptions(epochs=1, select=select))


def test_an_epoch_is_never_chosen_by_an_undefined_score(setting, monkeypatch):
    from parlib.learn import train as module

    encoder, _, parts = setting
    undefined = type("Undefined", (), {"summary": lambda self: dict.fromkeys(module.SUMMARY, float("nan"))})
    monkeypatch.setattr(module, "evaluate", lambda *arguments: undefined())
    with pytest.raises(BadInput, match="mAP is undefined on val"):
        fit(new_head(PA100K, encoder, **SMALL), parts["train"], parts["val"], TrainOptions(epochs=1, threads=1))


def test_features_or_weights_that_are_not_finite_stop_training(setting):
    encoder, _, parts = setting
    head = new_head(PA100K, encoder, **SMALL)
    head.bias.data[0] = float("nan")
    with pytest.raises(BadInput, match="the loss is not finite in epoch 0, step 1: features or labels are not"):
        fit(head, parts["train"], parts["val"], TrainOptions(epochs=1, threads=1))


def test_calibration_that_runs_away_is_noted_and_not_called_calibrated(setting, monkeypatch):
    """A head of one epoch had temperature 258,892: every probability 0.5, and "calibrated"."""
    encoder, _, parts = setting
    head, labels = new_head(PA100K, encoder, **SMALL), parts["val"].labels
    answers = {"against": 1.0 - 2 * labels, "perfect": 2.0 * labels - 1, "as they are": 2.0 * labels - 0.5}
    draws = torch.Generator().manual_seed(0)
    for what, logits in answers.items():
        noise = 0 if what == "perfect" else torch.randn(labels.shape, generator=draws)
        logits = torch.tensor(logits, dtype=torch.float32) + noise
        monkeypatch.setattr("parlib.learn.train.logits_of", lambda *given, logits=logits, **more: logits)
        notes = calibrate(head, parts["train"], parts["val"])
        runs_away = what != "as they are"
        assert any(note.startswith("no temperature from 0.1 to 10") for note in notes) == runs_away
        assert head.calibrated.any() != runs_away and (float(head.temperature) == 1) == runs_away
    assert 0.1 < float(head.temperature) < 10


def test_a_run_on_a_view_is_scored_on_another_benchmark(setting, rendered, tmp_path):
    options = TrainOptions(epochs=1, batch_size=16, threads=1)
    train_run("pa100k", rendered, "nano", 0, tmp_path / "own", setting[1], options, **SMALL)
    with pytest.raises(BadInput, match="takes training with a view of shared attributes"):
        evaluate_run(tmp_path / "own", root=rendered, benchmark="peta")
    train_run("pa100k", rendered, "nano", 0, tmp_path / "run", setting[1], options, view="upar", **SMALL)
    record = evaluate_run(tmp_path / "run")
    assert record["setting"]["trained_on"] == {"benchmark": "pa100k", "view": "upar"}
    assert record["data"]["view"] == "upar" and "LowerBody-Type-Skirt&Dress" in record["per_attribute"]
    assert record["per_attribute"]["Hair-Length-Long"]["known"] == 0, "PA-100K does not carry it"


def test_several_seeds_in_one_command_make_a_run_each(rendered, setting, tmp_path):
    where = ["--root", str(rendered), "--cache", str(setting[1]), "--epochs", "1", "--preset", "compact"]
    assert main(["train", *where, "--seeds", "0", "1", "--out", str(tmp_path / "runs")]) == 0
    runs = [json.loads((tmp_path / "runs" / f"seed{seed}" / "run.json").read_text()) for seed in (0, 1)]
    assert [run["setting"]["seed"] for run in runs] == [0, 1]
    assert runs[0]["history"] != runs[1]["history"] and runs[0]["setting"]["head"] == {"preset": "compact"}
    assert [evaluate_run(tmp_path / "runs" / f"seed{s}")["method"] for s in (0, 1)] == ["VLM-PAR head"] * 2


def test_a_run_of_other_attributes_is_refused(rendered, setting, tmp_path):
    train_run("pa100k", rendered, "nano", 0, tmp_path / "run", setting[1], TrainOptions(epochs=1, threads=1), **SMALL)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["schema"]["attributes"][0]["name"] = "Male"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="was trained for other attributes than 'pa100k' has now"):
        evaluate_run(tmp_path / "run")


def test_curves_without_tensorboard_say_what_to_install(rendered, setting, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    where = ["--root", str(rendered), "--cache", str(setting[1]), "--out", str(tmp_path / "run")]
    assert main(["train", *where, "--tensorboard", str(tmp_path / "logs")]) == 2
    assert "pip install tensorboard" in capsys.readouterr().err


def test_a_run_holds_its_encoders_identity_and_evaluate_refuses_another(setting, rendered, tmp_path):
    encoder, cache, _ = setting
    options = TrainOptions(epochs=1, threads=1)
    train_run("pa100k", rendered, "nano", 0, tmp_path / "run", cache, options, **SMALL)
    path = tmp_path / "run" / "run.json"
    run = json.loads(path.read_text())
    assert run["setting"]["identity"] == encoder.identity
    assert run["setting"]["head"] == {"preset": "paper", **SMALL}
    assert evaluate_run(tmp_path / "run")["setting"]["identity"] == encoder.identity
    run["setting"]["identity"]["preprocessing"] = "another"
    path.write_text(json.dumps(run))
    with pytest.raises(BadInput, match=r"run .*/run was made with another encoder: different preprocessing"):
        evaluate_run(tmp_path / "run")
