"""Commands: a user's mistake is one line on stderr and exit code 2, never a traceback."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from parlib.cli import main
from parlib.encode.hub import EXAMPLES
from parlib.learn.methods import find_methods
from parlib.profile import settings


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["extract", "--root", "{empty}", "--split", "train"], "annotation.mat"),
        (["train", "--root", "{missing}", "--out", "{empty}/run"], "no such folder"),
        (["train", "--benchmark", "imagenet", "--root", "{empty}", "--out", "{empty}/run"], "pa100k, peta, market1501"),
        (["train", "--root", "{tree}", "--encoder", "resnet50", "--out", "{empty}/run"], "no encoder 'resnet50'"),
        (["train", "--root", "{tree}", "--profile", "huge", "--out", "{empty}/run"], "small, sample, paper"),
        (["train", "--root", "{tree}", "--out", "{tree}"], "exists already"),
        (["extract", "--root", "{tree}", "--split", "dev"], "train, val, test"),
        (["evaluate", "{missing}"], "no run at"),
        (["table", "{missing}"], "no record at"),
        (["synth", "imagenet", "{empty}/x"], "imagenet"),
        (["synth", "pa100k", "{empty}/x", "--val", "0"], "val has 0 images"),
        (["synth", "pa100k", "{full}"], "nothing is overwritten"),
    ],
)
def test_a_mistake_is_one_clear_line(command, words, rendered, tmp_path, capsys):
    places = {"empty": tmp_path / "empty", "missing": tmp_path / "missing", "tree": rendered, "full": tmp_path}
    places["empty"].mkdir()
    assert main([part.format(**places) for part in command]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("parlib: ") and words in lines[0]


def test_a_missing_image_is_named(rendered, tmp_path, capsys):
    tree = shutil.copytree(rendered, tmp_path / "tree")
    (tree / "data" / "000003.jpg").unlink()
    assert main(["extract", "--root", str(tree), "--cache", str(tmp_path)]) == 2
    assert "000003.jpg" in capsys.readouterr().err


def test_check_says_by_its_exit_code_whether_a_tree_can_be_used(rendered, tmp_path, capsys):
    assert main(["check", str(rendered)]) == 0
    assert capsys.readouterr().out.strip().endswith("usable")
    assert main(["check", str(tmp_path)]) == 1


COMMANDS = [
    "reproduce",
    "synth",
    "check",
    "extract",
    "train",
    "baselines",
    "evaluate",
    "predict",
    "explore",
    "export",
    "audit",
    "table",
    "demo",
]


def test_help_is_quick_and_needs_no_torch():
    code = "import sys, parlib.cli; parlib.cli.main(['--help']); print({'torch', 'pandas', 'rich'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip().endswith("set()") and all(f"\n  {name} " in run.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_refuses_what_it_does_not_know(command, capsys):
    assert main([command, "-h"]) == 0
    assert f"Usage: parlib {command}" in capsys.readouterr().out
    assert main([command, "--nonsense"]) == 2
    assert re.search("No such option:? '?--nonsense", capsys.readouterr().err)  # click's words differ by version


def test_an_option_without_effect_is_an_error(capsys):
    assert main(["explore", "--beside", "nano-pa100k"]) == 2
    assert "give RUN too" in capsys.readouterr().err
    assert main(["predict", "nano-pa100k", "--by", "identity", "--most", "0"]) == 2
    assert "--most" in capsys.readouterr().err


def test_warnings_are_notes_on_stderr_every_time(capsys):
    for _ in range(2):
        assert main(["predict", "nano-pa100k", "--attributes", "Hat", "--phrase", "x=" + "red " * 60]) == 0
        out, err = capsys.readouterr()
        notes = [line for line in err.splitlines() if line.startswith("parlib: note: ")]
        assert len(notes) == 2 and "examples" in notes[0] + notes[1] and "32" in notes[0] + notes[1]
        assert "note" not in out


def test_a_run_that_is_stopped_says_so(monkeypatch, capsys, tmp_path):
    def stopped(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("parlib.data.check", stopped)
    assert main(["check", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "parlib: stopped; the same command resumes where it can\n"


def test_a_reader_that_ends_early_is_no_error(tmp_path):
    command = f"{sys.executable} -m parlib predict nano-pa100k 2>{tmp_path}/err | head -c 20"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert run.stdout.startswith("[") and "Traceback" not in (tmp_path / "err").read_text()


def test_several_seeds_in_either_way(monkeypatch, capsys, tmp_path):
    seen = []
    monkeypatch.setattr("parlib.learn.run.train_run", lambda *where, **options: seen.append(where[3:5]))
    for seeds in (["--seeds", "3", "4"], ["--seed", "3", "--seed", "4"]):
        seen.clear()
        assert main(["train", "--root", "x", "--out", str(tmp_path / "run"), *seeds]) == 0
        assert seen == [(3, tmp_path / "run" / "seed3"), (4, tmp_path / "run" / "seed4")]
    assert main(["train", "--root", "x", "--out", str(tmp_path / "run")]) == 0
    assert seen[-1] == (0, tmp_path / "run")


def test_the_profile_decides_unless_an_option_does(monkeypatch, capsys, tmp_path):
    """Encoder, commit, head and training of what is run are those of the first line."""
    seen = []

    def train_run(benchmark, root, encoder, seed, out, cache, options, revision, callback, *more, **head):
        seen.append((encoder, revision, head, options))
        callback(0, 1, 10, 0.5)

    monkeypatch.setattr("parlib.learn.run.train_run", train_run)
    where = ["train", "--root", "x", "--out", str(tmp_path / "run")]
    paper_on_nano = find_methods(["paper"])[0].train_options("nano").epochs
    expected = {
        (): ("nano", None, {"preset": "recommended"}, 8),
        ("--profile", "paper"): (settings("paper").encoder, settings("paper").revision, {"preset": "paper"}, 20),
        ("--profile", "paper", "--encoder", "nano"): ("nano", None, {"preset": "paper"}, paper_on_nano),
        ("--profile", "paper", "--preset", "compact", "--epochs", "3", "--language", "zh"): (
            *(settings("paper").encoder, settings("paper").revision),
            *({"preset": "compact", "language": "zh"}, 3),
        ),
    }
    for options, (encoder, revision, head, epochs) in expected.items():
        assert main([*where, *options]) == 0
        line = capsys.readouterr().err.splitlines()[0]
        assert seen[-1][:3] == (encoder, revision, head) and seen[-1][3].epochs == epochs
        assert f"encoder {encoder}" in line and f"head {head['preset']}" in line and f"{epochs} epochs" in line
        assert f"profile {options[1] if options else 'small'}" in line


def test_table_and_schema_of_a_folder_reach_training_and_evaluation(capsys, tmp_path):
    """Two tables in a folder: the one that is named is read, also by `evaluate`, without being given it again."""
    rows = ["image,hat,bag,split"]
    for i, split in enumerate(("train", "val", "test")):
        for k, path in enumerate(sorted(EXAMPLES.glob("*.png"))[:4]):
            shutil.copy(path, tmp_path / f"{i}-{k}.png")
            rows.append(f"{i}-{k}.png,{k % 2},{k // 2},{split}")
    for name in ("labels.csv", "other.csv"):
        (tmp_path / name).write_text("\n".join(rows))
    (tmp_path / "mine.yaml").write_text("name: mine\nattributes: [hat]\n")
    where = ["--benchmark", "folder", "--root", str(tmp_path), "--cache", str(tmp_path / "cache")]
    run = ["--out", str(tmp_path / "run"), "--epochs", "1"]
    assert main(["train", *where, *run]) == 2
    assert "labels.csv, other.csv" in capsys.readouterr().err
    named = ["--table", "other.csv", "--schema", str(tmp_path / "mine.yaml")]
    assert main(["train", *where, *named, *run]) == 0
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "0-0.png")]) == 0
    assert list(json.loads(capsys.readouterr().out)[0]["attributes"]) == ["hat"]
    assert main(["extract", "--root", str(tmp_path), "--table", "other.csv"]) == 2
    assert "pa100k has no option 'table'" in capsys.readouterr().err
