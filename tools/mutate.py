"""Does a test fail for every small change of the scores? `make mutate`; what may survive is in `tests/survivors.yaml`.

The changes are mutmut's. Its own run leaves out what stands outside of functions, such as the table of the protocols,
so here each mutant takes the place of its module in a fork of this process, where pytest runs until a test fails.
"""

import difflib
import gc
import os
import re
import resource
import sys
import types
from pathlib import Path

import _hypothesis_pytestplugin  # noqa: F401  like the next ones for the tests: imported once, before the forks
import hypothesis  # noqa: F401
import pytest
import scipy.io  # noqa: F401
import sklearn.metrics  # noqa: F401
import yaml
from mutmut.configuration import config
from mutmut.mutation.file_mutation import create_mutations, deep_replace
from tqdm import tqdm

import parlib.data  # noqa: F401

EXPLAINED = Path("tests/survivors.yaml")
AT_ONCE, SECONDS = 2, 60  # of the processor
PYTEST = [
    "-p",
    "_hypothesis_pytestplugin",
    "-p",
    "no:cacheprovider",
]  # no other plugin: loading them takes longest


def mutants(path):
    """Of one module: [((where, line, becomes), path, code)], where is `module.function`, the others are the diff."""
    text, found = path.read_text(), []
    tree, mutations, *_ = create_mutations(str(path), text)
    for m in mutations:
        code = deep_replace(tree, m.original_node, m.mutated_node).code
        diff = list(difflib.unified_diff(text.splitlines(), code.splitlines(), n=0))[3:]
        line, becomes = (" ".join(d[1:].strip() for d in diff if d[0] == sign) for sign in "-+")
        function = getattr(m.contained_by_top_level_function, "name", None)
        found.append(((f"{path.stem}.{function.value}" if function else path.stem, line, becomes), path, code))
    return found


class TellingFirst:
    """Of tests with a seed, most say the same: what is worked by hand comes first, then one seed after the other."""

    @staticmethod
    def pytest_collection_modifyitems(items):
        items.sort(key=lambda item: item.callspec.params.get("seed", -1) if hasattr(item, "callspec") else -1)


def run_tests(path, code):
    """In a fork: the tests with `code` in the place of a module; ends the process, with 0 if every test passes."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))  # a mutant may never end; others' work does not count
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    name = ".".join(path.with_suffix("").parts)
    module = sys.modules[name] = types.ModuleType(name)
    try:
        exec(compile(code, path, "exec"), module.__dict__)
        chosen = [*config().pytest_add_cli_args, *config().pytest_add_cli_args_test_selection]
        os._exit(pytest.main([*PYTEST, *chosen], plugins=[TellingFirst]))
    except BaseException:
        os._exit(1)


def survivors(mutants):
    """The keys of those of `mutants` whose tests all pass."""
    waiting, running, survived = list(mutants), {}, []
    progress = tqdm(total=len(mutants), desc="mutants", mininterval=20)
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            key, path, code = waiting.pop(0)
            pid = os.fork()
            if not pid:
                run_tests(path, code)
            running[pid] = key
        pid, status = os.wait()
        key = running.pop(pid)
        progress.update()
        if status == 0:
            survived.append(key)
    return survived


def covers(entry, key):
    """Whether an entry of the list explains a survivor: by the very change, or as one of nothing but `only`."""
    where, *diff = key
    if "only" in entry:
        return where == entry["in"] and len({re.sub(entry["only"], "", side) for side in diff}) == 1
    return key == (entry["in"], entry["line"], entry["becomes"])


def main():
    """0 if the survivors are those that are explained."""
    gc.freeze()  # and no collection in the forks: each would copy the memory that they share
    gc.disable()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    listed = yaml.safe_load(EXPLAINED.read_text())
    listed = [{**entry, "becomes": becomes} for entry in listed for becomes in entry.get("becomes", [None])]
    as_it_is = [((), path, path.read_text()) for path in config().source_paths]
    made = [mutant for path in config().source_paths for mutant in mutants(path)]
    if not made or not survivors(as_it_is[:1]):
        sys.exit("no mutant was made" if not made else "the tests fail without a mutant: run them first")
    survived = survivors(made + as_it_is)
    if survived.count(()) != len(as_it_is):
        sys.exit("the tests came to fail without a mutant: did a file change meanwhile?")
    survived = [key for key in survived if key]
    unexplained = [key for key in survived if not any(covers(entry, key) for entry in listed)]
    stale = [entry for entry in listed if not any(covers(entry, key) for key in survived)]
    for where, line, becomes in unexplained:
        print(f"survived, and not in {EXPLAINED}: {where}\n  - {line}\n  + {becomes}")
    for entry in stale:
        print(f"in {EXPLAINED}, but killed or gone: {entry}")
    explained = len(survived) - len(unexplained)
    print(f"mutants {len(made)}, killed {len(made) - len(survived)}, survived {len(survived)}, explained {explained}")
    return int(bool(unexplained or stale))


if __name__ == "__main__":
    sys.exit(main())
