"""What everyday use costs: `python benchmarks/everyday.py` writes `results/everyday.json`.

Commands are timed whole, in turn, beside a bare interpreter. With `--clone` the last commit is cloned into an empty
folder and `make reproduce` run there, installation and empty caches included.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import side_by_side, write

ROOT = Path(__file__).parents[1]
PARLIB = str(Path(sys.prefix) / "bin" / "parlib")
COMMANDS = {
    "python, nothing imported": [sys.executable, "-c", "pass"],
    "import parlib": [sys.executable, "-c", "import parlib"],
    "parlib --help": [PARLIB, "--help"],
    "parlib predict nano-pa100k (12 examples)": [PARLIB, "predict", "nano-pa100k"],
}


def wheel():
    """Size of the wheel in MB (1e6 bytes)."""
    with tempfile.TemporaryDirectory() as place:
        _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place, str(ROOT)])
        return next(Path(place).glob("*.whl")).stat().st_size / 1e6


def clone():
    """Seconds of `make install` and of `make reproduce` after it in a fresh clone, and of each notebook."""
    with tempfile.TemporaryDirectory() as place:
        _run(["git", "clone", "--quiet", str(ROOT), place])
        out = {}
        for target in ("install", "reproduce"):
            start = time.perf_counter()
            said = _run(["make", target], cwd=place)
            out[f"make {target}"] = time.perf_counter() - start
        out["notebooks"] = {name: int(s) for name, s in re.findall(r"^(\d\d_\w+)\.ipynb: (\d+) s", said, flags=re.M)}
        return out


def _run(command, **options):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PARLIB_")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, **options)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout


def main():
    """Times of the commands, the wheel, and the clone where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clone", action="store_true", help="also make reproduce from a clone of the last commit")
    arguments = parser.parse_args()
    out = {"commands": side_by_side({n: lambda c=c: _run(c) and None for n, c in COMMANDS.items()}, repeats=9)}
    for name, row in out["commands"].items():
        print(f"{name:42s} {row['median_s']:.3f} s (spread {row['spread']:.2f})")
    out["wheel_mb"] = wheel()
    print(f"wheel {out['wheel_mb']:.1f} MB")
    if arguments.clone:
        out["clone"] = clone()
        print(out["clone"])
    write("everyday", out)


if __name__ == "__main__":
    main()
