"""Commands: a user's mistake is one line on stderr and exit code 2, never a traceback."""

import subprocess
import sys

import pytest

from parlib.cli import main


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["extract", "--root", "{empty}", "--split", "train"], "annotation.mat"),
        (["train", "--root", "{missing}", "--out", "{empty}/run"], "no such folder"),
        (["train", "--benchmark", "imagenet", "--root", "{empty}", "--out", "{empty}/run"], "pa100k, peta, market1501"),
        (["train", "--root", "{tree}", "--encoder", "resnet50", "--out", "{empty}/run"], "unknown encoder 'resnet50'"),
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
    import shutil

    tree = shutil.copytree(rendered, tmp_path / "tree")
    (tree / "data" / "000003.jpg").unlink()
    assert main(["extract", "--root", str(tree), "--cache", str(tmp_path)]) == 2
    assert "000003.jpg" in capsys.readouterr().err


def test_check_says_by_its_exit_code_whether_a_tree_can_be_used(rendered, tmp_path, capsys):
    assert main(["check", str(rendered)]) == 0
    assert capsys.readouterr().out.strip().endswith("usable")
    assert main(["check", str(tmp_path)]) == 1


def test_help_is_quick_and_needs_no_torch():
    code = "import sys, parlib.cli; parlib.cli._parser().format_help(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
    assert (
        "evaluate" in subprocess.run([sys.executable, "-m", "parlib", "--help"], capture_output=True, text=True).stdout
    )
