"""Fixtures shared by the tests."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("PARLIB_TEST_DATA") or Path(__file__).parents[1].parent / "shared" / "data")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Under `--dist loadgroup` each file is a group; all notebooks are one, because they share a cache and an order."""
    for item in items:
        file = item.nodeid.split("::")[0]
        item.add_marker(pytest.mark.xdist_group("notebooks" if file.endswith(".ipynb") else file))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """In CI, a test that could run and was skipped has failed."""
    report = yield
    needs = item.get_closest_marker("browser") or (DATA.is_dir() and item.get_closest_marker("real"))
    if os.environ.get("CI") and report.skipped and needs and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def real_data():
    """Folder of the real annotation files and images; they belong to third parties and are not in the repository."""
    if not DATA.is_dir():
        pytest.skip(f"real files not found at {DATA}; set PARLIB_TEST_DATA to run this test")
    return DATA


def _rendered(tmp_path_factory, benchmark):
    from pedsynth import synthesize

    root = tmp_path_factory.mktemp("rendered") / benchmark
    return synthesize(benchmark, root, train=40, val=24, test=24, workers=1, progress=False)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """A small rendered PA-100K: 40 / 24 / 24 images."""
    return _rendered(tmp_path_factory, "pa100k")


@pytest.fixture(scope="session")
def rendered_peta(tmp_path_factory):
    """A small rendered PETA: 40 / 24 / 24 images in each partition."""
    return _rendered(tmp_path_factory, "peta")


@pytest.fixture(scope="session")
def rendered_market(tmp_path_factory):
    """A small rendered Market-1501: 40 / 24 / 24 images that are read, and two each of junk and distractors."""
    return _rendered(tmp_path_factory, "market1501")


@pytest.fixture(scope="session")
def encoder():
    """The shipped encoder."""
    from parlib.encode.encoder import load_encoder

    return load_encoder("nano")


@pytest.fixture(scope="session")
def parts(rendered):
    """Val and test of the rendered PA-100K, with images."""
    from parlib.data import load_benchmark

    return {split: load_benchmark("pa100k", rendered, split) for split in ("val", "test")}


@pytest.fixture(scope="session")
def stores(parts, encoder, tmp_path_factory):
    """Features of `parts`."""
    from parlib.encode.extract import extract

    place = tmp_path_factory.mktemp("features")
    return {split: extract(part, encoder, place, split, progress=False) for split, part in parts.items()}
