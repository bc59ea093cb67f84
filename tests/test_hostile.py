"""Damaged files give an answer or one clear error; nothing outside the root is read and no code of a file is run.

Each reader gets a good file with seeded random faults; `PARLIB_FUZZ=2000` tries so many per reader (60 by default).
"""

import ast
import os
import pickle
import random
from pathlib import Path

import pytest
from fuzz.readers import READERS, written
from PIL import Image

import parlib
import pedsynth
from parlib.data import check, load_benchmark
from parlib.data.images import open_image
from parlib.data.partition import read_index
from parlib.errors import BadInput
from parlib.files import read_yaml
from parlib.use.model import EXAMPLES, load

TRIES = int(os.environ.get("PARLIB_FUZZ", 60))
POISON = [
    b"\0",
    b"\xff\xfe",
    b"../../etc/passwd",
    b"=1+1",
    b"NaN",
    b"-1",
    b"9" * 40,
    b'"',
    b"{",
    b"[" * 50,
    b"\n",
    b"&a *a",
]


def altered(content, draw):
    """A file's bytes with one to four faults: flipped, cut, doubled, removed or poisoned."""
    content = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(content) + 1)
        length = draw.choice((1, 2, 8, 64, 512))
        kind = draw.choice(("flip", "flip", "cut", "double", "remove", "poison", "zero"))
        if kind == "flip" and content:
            content[min(at, len(content) - 1)] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del content[at:]
        elif kind == "double":
            content[at:at] = content[at : at + length]
        elif kind == "remove":
            del content[at : at + length]
        elif kind == "zero":
            content[at : at + length] = bytes(len(content[at : at + length]))
        else:
            content[at:at] = draw.choice(POISON)
    return bytes(content)


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(name, tmp_path):
    make, read = READERS[name]
    path = make(tmp_path)
    good, refused = path.read_bytes(), 0
    read(path)  # the good file is read
    for attempt in range(TRIES):
        path.write_bytes(altered(good, random.Random(f"{name}{attempt}")))
        try:
            read(path)
        except BadInput as error:
            refused += 1
            assert str(error).strip(), attempt
    assert refused > TRIES // 20, "hardly any fault was noticed"


def test_code_in_a_yaml_file_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.yaml", "attributes: !!python/object/apply:os.system ['touch hacked']")
    with pytest.raises(BadInput, match=r"a\.yaml"):
        read_yaml(path, "schema")
    assert [file.name for file in tmp_path.iterdir()] == ["a.yaml"]


def test_a_pickled_split_index_is_refused_before_it_is_opened(tmp_path):
    (tmp_path / "a.json").write_bytes(pickle.dumps({"train": [1]}))
    with pytest.raises(BadInput, match="pickle"):
        read_index(tmp_path / "a.json", ["00001.png"])


def test_pictures_that_would_fill_the_memory_are_refused_by_their_header(tmp_path):
    for size in ((60_000, 10), (16_000, 16_000)):
        Image.new("1", size).save(tmp_path / "a.png")
        with pytest.raises(BadInput, match=r"at most 16,384 px per side|cannot be read"):
            open_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/hostname", "..\\secret.png", "link.png", "below/../../secret.png"]
)
def test_no_name_in_a_table_leads_out_of_its_root(name, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    written(root / "metadata.csv", f"image,hat\n{name},1\n")
    with pytest.raises(BadInput):
        load_benchmark("folder", root, "all")[0]
    assert not check(root).usable


def test_nothing_reaches_for_the_network_without_a_hub_name(tmp_path, monkeypatch):
    import socket

    def refuse(*where, **more):
        raise AssertionError(f"asked for the network: {where}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    model = load("nano-pa100k")
    model(EXAMPLES, progress=False)
    model.save_pretrained(tmp_path / "saved")
    load(tmp_path / "saved")
    with pytest.raises(BadInput, match="no model"):
        load("no-such-model")
    with pytest.raises(BadInput, match="no encoder"):
        parlib.load_encoder("no-such-encoder")


def test_no_source_reads_pickle_or_evaluates_text():
    for path in sorted(path for package in (parlib, pedsynth) for path in Path(package.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads", "torch.load", "yaml.load"), path
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert keywords.get("allow_pickle") != "True" and keywords.get("shell") != "True", path
                assert keywords.get("trust_remote_code", "False") == "False", path
