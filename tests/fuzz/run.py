"""Fuzzes one reader with atheris: `python tests/fuzz/run.py NAME SECONDS`; NAME may be `all`.

A reader must return an answer or raise `BadInput`; anything else is a finding. Inputs are guided by the coverage of
parlib, of Pillow's Python code and of PyYAML. Inputs that reached new code are kept in `.cache/fuzz/NAME` and tried
first next time.
"""

import contextlib
import json
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["parlib", "PIL", "yaml"]):
    import readers
    from PIL import Image

    Image.init()  # its plugins, otherwise imported when first needed

import torch
from trees import swapped

from parlib.errors import BadInput

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "fuzz"
RESULTS = ROOT / "benchmarks" / "results" / "fuzz.json"


def fuzz(name, seconds, seed, log, corpus):
    """Fuzz a reader in this process, which ends afterwards; libFuzzer's output goes to the file `log`."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.dup2(2, 1)
    os.environ["TQDM_DISABLE"] = "1"
    torch.set_num_threads(1)  # threads of a forked process would wait for each other
    make, read = (readers.READERS | readers.BROKEN)[name]
    folder = Path(tempfile.mkdtemp(dir=corpus.parent))
    path = make(folder)
    good = path.read_bytes()
    read(path)
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "good").write_bytes(good)

    def attempt(data):
        path.write_bytes(data)
        start = sum(os.times()[:4])  # processor time: other work on the machine does not count
        with contextlib.suppress(BadInput):
            read(path)
        if sum(os.times()[:4]) - start > 5:
            raise TimeoutError("an input took more than 5 s")

    options = {
        "max_total_time": seconds,
        "seed": seed,
        "timeout": 120,  # for what waits without using the processor
        "rss_limit_mb": 2048,
        "max_len": 4 * len(good) + 4096,
        "report_slow_units": 60,
        "print_final_stats": 1,
        "artifact_prefix": f"{log}.",
    }
    arguments = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(corpus)]
    kinds = {".json": (json.loads, json.dumps)}
    if path.suffix == ".yaml":
        import yaml

        kinds[".yaml"] = (yaml.safe_load, yaml.safe_dump)
    load, dump = kinds.get(path.suffix, (None, None))

    def mutated(data, limit, seed):
        draw = random.Random(seed)
        if load and draw.random() < 0.7:
            with contextlib.suppress(Exception):  # not JSON or YAML any more: change bytes instead
                return dump(swapped(load(data.decode()), draw)).encode()[:limit]
        return atheris.Mutate(data, limit)

    atheris.Setup(arguments, attempt, **({"custom_mutator": mutated} if load else {}))
    atheris.Fuzz()


def session(name, seconds, context, cache, seed=0):
    """Fuzz a reader in a process of its own; returns a dict: `finding` is None, or the input and the last output.

    The inputs follow from `seed`; 0 draws another one each time.
    """
    cache.mkdir(parents=True, exist_ok=True)
    plain = re.sub(r"\W+", "-", name)
    log, start = cache / f"{plain}.log", time.monotonic()
    for old in cache.glob(f"{plain}.log.*"):
        old.unlink()
    process = context.Process(target=fuzz, args=(name, seconds, seed, log, cache / plain))
    process.start()
    process.join(seconds + 300)
    process.kill()
    output = log.read_text(errors="replace")
    done = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    found = [path.read_bytes() for path in cache.glob(f"{plain}.log.*")]
    failed = process.exitcode != 0 or found
    return {
        "reader": name,
        "executions": int(done[1]) if done else 0,
        "seconds": round(time.monotonic() - start, 1),
        "finding": f"{found[:1]!r}\n{output[-3000:]}" if failed else None,
    }


def server():
    """A multiprocessing context whose processes are forks of one that has imported everything."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["run"])
    return context


def keep(sessions):
    """Write the counts to the results, if every reader was fuzzed and nothing was found."""
    if {one["reader"] for one in sessions} == set(readers.READERS) and not any(one["finding"] for one in sessions):
        about = {
            "what": "readers under atheris: at most 2 GB, and 5 s per input",
            "atheris": version("atheris"),
            "findings": 0,
        }
        counted = [{key: one[key] for key in ("reader", "executions", "seconds")} for one in sessions]
        RESULTS.write_text(json.dumps({**about, "readers": counted}, indent=1) + "\n")


if __name__ == "__main__":
    name, seconds, sessions = sys.argv[1], int(sys.argv[2]), []
    names = list(readers.READERS) if name == "all" else [name]
    with ThreadPoolExecutor(3) as pool:
        for one in pool.map(lambda reader: session(reader, seconds, server(), CACHE), names):
            print(one["finding"] or "", {**one, "finding": bool(one["finding"])}, flush=True)
            sessions.append(one)
    keep(sessions)
