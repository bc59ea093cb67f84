"""Small files that stand for much: `bombs.py NAME FOLDER` reads one; it prints seconds, GB, what was said.

name -> (make it in a folder, read it, whether it has to be refused: the others may be read, within the same bounds).
"""

import json
import os
import resource
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, PngImagePlugin
from scipy.io import savemat

from parlib.data.formats import read_mat, read_table
from parlib.data.images import open_image
from parlib.errors import BadInput
from parlib.files import read_json, read_yaml
from parlib.use.boxes import read_boxes


def written(path, content):
    path.write_bytes(content)
    return path


def piped(path):
    os.mkfifo(path)
    return path


def parquet(path, column):
    pq.write_table(pa.table({"image": column}), path, row_group_size=2**20, store_schema=False)
    return path


def long_text(path):
    indices = pa.array(np.zeros(1_000_000, np.int32))
    return parquet(path, pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 60_000])))


def png(path, kind, content):
    """A picture with a chunk of `kind` that grows a thousandfold."""
    Image.new("RGB", (8, 8)).save(path)
    chunk = kind + content + zlib.compress(bytes(3 * 10**8), 1)
    whole, crc = path.read_bytes(), struct.pack(">I", zlib.crc32(chunk))
    return written(path, whole[:33] + struct.pack(">I", len(chunk) - 4) + chunk + crc + whole[33:])


def saved(path, size, mode="RGB", **options):
    Image.new(mode, size).save(path, **options)
    return path


def scans(path, times):
    """A progressive JPEG of many pixels, one of whose scans is repeated: each is walked through in full."""
    whole = saved(path, (8000, 8000), progressive=True, quality=10).read_bytes()
    starts = [i for i in range(len(whole) - 1) if whole[i : i + 2] == b"\xff\xda"]
    last = whole[starts[-1] : -2]
    return written(path, whole[:-2] + last * times + b"\xff\xd9")


def frames(path, count):
    first, *more = (Image.new("P", (500, 500), i % 200) for i in range(count))
    first.save(path, save_all=True, append_images=more)
    return path


def mat(path):
    savemat(path, {"names": np.zeros(25 * 10**7, np.uint8)}, do_compression=True)
    return path


def json_file(path):
    return read_json(path, "file", object)


def yaml_file(path):
    return read_yaml(path, "file")


BOMBS = {
    "parquet, a long text in every row": (lambda f: long_text(f / "a.parquet"), read_table, True),
    "parquet, many rows": (
        lambda f: parquet(f / "a.parquet", pa.array(np.zeros(6 * 10**7, np.int8))),
        read_table,
        True,
    ),
    "png, zTXt": (lambda f: png(f / "a.png", b"zTXt", b"a\0\0"), open_image, False),
    "png, iCCP": (lambda f: png(f / "a.png", b"iCCP", b"a\0\0"), open_image, False),
    "png, RGBA of most pixels": (lambda f: saved(f / "a.png", (16_000, 4000), "RGBA"), open_image, False),
    "png, 16 bits of most pixels": (lambda f: saved(f / "a.png", (16_000, 4000), "I;16"), open_image, False),
    "jpg, a scan again and again": (lambda f: scans(f / "a.jpg", 1000), open_image, True),
    "gif, many frames": (lambda f: frames(f / "a.gif", 1500), open_image, False),
    "webp, most pixels": (lambda f: saved(f / "a.webp", (16_000, 4000)), open_image, False),
    "tiff, most pixels": (
        lambda f: saved(f / "a.tiff", (16_000, 4000), "RGBA", compression="tiff_lzw"),
        open_image,
        False,
    ),
    "mat": (lambda f: mat(f / "a.mat"), read_mat, True),
    "csv, one cell": (lambda f: written(f / "a.csv", b"image\n" + b"a" * 13 * 10**7), read_table, False),
    "csv, too many rows": (lambda f: written(f / "a.csv", b"image\n" + b"a\n" * 4 * 10**7), read_table, True),
    "csv, too large": (lambda f: written(f / "a.csv", b"image\n" + b"a" * 14 * 10**7), read_table, True),
    "csv, most cells": (lambda f: written(f / "a.csv", b"a,b,c,d\n" + b"1,x,2,y\n" * 15 * 10**6), read_table, False),
    "csv, short rows": (lambda f: written(f / "a.csv", b"image\n" + b"a\n" * 15 * 10**6), read_table, False),
    "csv, columns on a second line": (
        lambda f: written(f / "a.csv", b'"a\n"' + b",x" * 10**6 + b"\n"),
        read_table,
        True,
    ),
    "yaml": (lambda f: written(f / "a.yaml", b"a: [" + b"b," * 60_000 + b"]"), yaml_file, False),
    "yaml, too large": (lambda f: written(f / "a.yaml", b"a: [" + b"b," * 10**6 + b"]"), yaml_file, True),
    "yaml, pairs": (
        lambda f: written(
            f / "a.yaml",
            b"a0: &a0 [x, x]\n"
            + b"".join(
                b"a%d: &a%d !!pairs [%s]\n" % (i, i, b", ".join([b"x: *a%d" % (i - 1)] * 9)) for i in range(1, 12)
            ),
        ),
        yaml_file,
        True,
    ),
    "json, many lists": (lambda f: written(f / "a.json", b"[" + b"[]," * 3 * 10**6 + b"[]]"), json_file, False),
    "json, too many lists": (lambda f: written(f / "a.json", b"[" + b"[]," * 5 * 10**6 + b"[]]"), json_file, True),
    "json, too many numbers": (lambda f: written(f / "a.json", b"[" + b"1," * 3 * 10**7 + b"1]"), json_file, True),
    "json, most numbers": (lambda f: written(f / "a.json", b"[" + b"1.25," * 9 * 10**6 + b"1]"), json_file, False),
    "json, too large": (lambda f: written(f / "a.json", b'["' + b"a" * 14 * 10**7 + b'"]'), json_file, True),
    "boxes, a pipe": (lambda f: piped(f / "a.csv"), read_boxes, True),
    "csv, a pipe": (lambda f: piped(f / "a.csv"), read_table, True),
    "json, a device": (lambda f: Path("/dev/zero"), json_file, True),
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    PngImagePlugin  # noqa: B018 (what is imported now is not measured)
    make, read, _ = BOMBS[sys.argv[1]]
    if not os.fork():  # making a bomb takes more than it may take to read it
        make(Path(sys.argv[2]))
        os._exit(0)
    os.wait()
    path = next(iter(sorted(Path(sys.argv[2]).iterdir())), Path("/dev/zero"))
    start, said = sum(os.times()[:4]), None  # processor time: other work on the machine does not count
    try:
        read(path)
    except BadInput as error:
        said = str(error)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps([round(sum(os.times()[:4]) - start, 2), round(peak, 2), said]))
