"""How every benchmark here measures: candidates side by side in one run, written with the hardware that made them.

Scripts beside this file say `from harness import side_by_side, write` and run as `python benchmarks/encode.py`.
"""

import json
import os
import platform
import resource
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import joblib
import psutil
import torch

from parlib.files import write_atomic
from parlib.measure import records

RESULTS = Path(__file__).parent / "results"


def hardware():
    """What a figure depends on beside the code: processor, cores, memory, GPU, versions, threads, load (a dict)."""
    return {
        "processor": records.hardware()["cpu"],
        "cores": joblib.cpu_count(),  # those that this process may use
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "load_1min": round(psutil.getloadavg()[0], 2),  # above 0 before the run: other work shared the machine
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers")},
    }


def side_by_side(candidates, repeats=5, warmup=1):
    """Time candidates in turn, round after round, so that what slows the machine slows all of them.

    Args:
        candidates: `{name: callable}`; a callable that returns a number did that many items, else one.
        repeats: rounds that count; every other round runs in reverse order.
        warmup: rounds before them that do not.

    Returns:
        dict: of each candidate `median_s`, `min_s`, `max_s`, `spread` ((max - min) / median), `cpu_s` (median of
        processor time, with that of processes that ended within), `per_s` (items a second at the median); and `ratio`,
        how many times the first candidate's rate it has: the median over rounds.
    """
    rates = {name: [] for name in candidates}
    seconds, cpu, items = {name: [] for name in candidates}, {name: [] for name in candidates}, {}
    for turn in range(-warmup, repeats):
        for name in list(candidates)[:: -1 if turn % 2 else 1]:
            start, work = time.perf_counter(), sum(os.times()[:4])
            done = candidates[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            took = time.perf_counter() - start
            if turn >= 0:
                items[name] = done if isinstance(done, (int, float)) else 1
                seconds[name].append(took)
                cpu[name].append(sum(os.times()[:4]) - work)
                rates[name].append(items[name] / took)
    first = rates[next(iter(candidates))]
    out = {}
    for name, taken in seconds.items():
        median = statistics.median(taken)
        out[name] = {
            "median_s": median,
            "min_s": min(taken),
            "max_s": max(taken),
            "cpu_s": statistics.median(cpu[name]),
            "spread": (max(taken) - min(taken)) / median,
            "per_s": items[name] / median,
            "ratio": statistics.median(mine / other for mine, other in zip(rates[name], first, strict=True)),
            "repeats": repeats,
        }
    return out


def profile(work, most=8):
    """Percent of the time of one call, by torch operator: the `most` that took longest, and the rest."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        work()
    took = sorted(((row.self_cpu_time_total, row.key) for row in seen.key_averages()), reverse=True)
    whole = sum(time for time, _ in took)
    shares = {name: round(100 * time / whole, 1) for time, name in took[:most]}
    return {**shares, "other": round(100 - sum(shares.values()), 1)}


def peak_mb():
    """Most memory this process has held resident so far, in MB (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(name, result):
    """Write `results/<name>.json`: the result, the hardware and the day; returns the path."""
    path = RESULTS / f"{name}.json"
    made = {"measured": time.strftime("%Y-%m-%d"), "hardware": hardware(), "result": result}
    write_atomic(path, json.dumps(made, indent=1))
    print(path)
    return path
