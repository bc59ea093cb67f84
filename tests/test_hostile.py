"""Every reader against damaged and hostile files: an answer or one clear error, soon, and nothing outside the root.

Each reader gets a good file, altered at random from a seed; `PARLIB_FUZZ=2000` tries that many of each (60 by default).
"""

import ast
import os
import random
import time
from pathlib import Path

import pytest
from fuzz.readers import READERS, written
from PIL import Image

import parlib
from parlib.data import check, load_benchmark
from parlib.data.formats import read_mat, read_table
from parlib.data.images import open_image
from parlib.encode.prompts import check_prompts
from parlib.errors import BadInput
from parlib.files import read_json
from parlib.schema import Schema
from parlib.use.boxes import read_boxes
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


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(name, tmp_path):
    make, read = READERS[name]
    path = make(tmp_path)
    good, refused = path.read_bytes(), 0
    read(path)  # the good one is read
    for attempt in range(TRIES):
        path.write_bytes(altered(good, random.Random(f"{name}{attempt}")))
        start = time.monotonic()
        try:
            read(path)
        except BadInput as error:
            refused += 1
            assert str(error).strip(), attempt
        assert time.monotonic() - start < 5, attempt
    assert refused > TRIES // 20, "hardly anything was noticed: are the faults any?"


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))


@pytest.mark.parametrize(
    "name, content, read",
    [
        ("a.yaml", BOMB + "name: own\nattributes: [{name: *a11}]\n", Schema.from_yaml),
        ("a.yaml", BOMB + "name: *a11\nattributes: [hat]\n", Schema.from_yaml),
        ("a.yaml", "[" * 100_000, Schema.from_yaml),
        ("a.yaml", "attributes: !!python/object/apply:os.system ['touch hacked']", Schema.from_yaml),
        ("a.yaml", BOMB + "language: en\npa100k: *a11\n", check_prompts),
        ("a.yaml", "language: en\n" + "[" * 100_000, check_prompts),
        ("a.json", "[" * 200_000, lambda p: read_json(p, "file")),
        ("a.json", '{"images": ' + "[" * 200_000, read_boxes),
        ("a.json", '{"images": [], "annotations": ' + "9" * 100_000 + "}", read_boxes),
        ("a.csv", "image,x,y,width,height\n" + "a.png,1e400,0,1,1\n", read_boxes),
        ("a.csv", '"' * 100_001, read_table),
        ("a.csv", "image" + ",x" * 200_000 + "\n", read_boxes),
        ("a.parquet", "PAR1" + "\xff" * 1000 + "PAR1", read_table),
        ("a.mat", "MATLAB 5.0 MAT-file".ljust(124) + "\x00\x01IM" + "\x0e\x00\x00\x00\xff\xff\xff\xff", read_mat),
    ],
)
def test_bombs_and_code_are_refused_in_time(name, content, read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, start = tmp_path / name, time.monotonic()
    path.write_bytes(content.encode("latin1"))
    with pytest.raises(BadInput) as caught:
        read(path)
    assert time.monotonic() - start < 5 and len(str(caught.value)) < 2000
    assert [p.name for p in tmp_path.iterdir()] == [name], "nothing was run"


def test_pictures_that_would_fill_the_memory_are_refused_by_their_header(tmp_path):
    for size in ((60_000, 10), (16_000, 16_000)):
        Image.new("1", size).save(tmp_path / "a.png")
        with pytest.raises(BadInput, match=r"is larger than 16384 px a side|cannot be decoded"):
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
    with pytest.raises(BadInput, match="unknown encoder"):
        parlib.load_encoder("no-such-encoder")


def test_no_source_reads_pickle_or_evaluates_text():
    for path in sorted(Path(parlib.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads", "torch.load", "yaml.load"), path
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert keywords.get("allow_pickle") != "True" and keywords.get("shell") != "True", path
                assert keywords.get("trust_remote_code", "False") == "False", path
