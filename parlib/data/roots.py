"""Where the trees lie that notebooks and commands work on: real ones, or rendered ones."""

from dataclasses import replace
from pathlib import Path

from parlib.data.release import BENCHMARKS, IN_PLAN
from parlib.profile import Profile


def benchmark_root(profile: Profile) -> Path:
    """Root of the tree a `Profile` works on: the real one it names, or one rendered into its cache, once."""
    if profile.root is not None:
        return profile.root
    from pedsynth import RENDERER_VERSION, synthesize

    sizes = "-".join(str(size) for size in profile.sizes.values())
    name = f"{profile.benchmark}-{sizes}-seed{profile.seed}-v{RENDERER_VERSION}"
    return synthesize(profile.benchmark, profile.cache / "rendered" / name, **profile.sizes, seed=profile.seed)


def benchmark_roots(profile: Profile) -> dict[str, Path]:
    """Benchmark -> root of each that a `Profile` has: all three rendered, the real ones present, or the one sample."""
    if profile.data is None:
        return {name: benchmark_root(replace(profile, benchmark=name)) for name in IN_PLAN}
    if profile.name == "paper":
        return {path.name: path for path in sorted(profile.data.iterdir()) if path.name in BENCHMARKS}
    return {profile.benchmark: benchmark_root(profile)}
