"""The benchmarks as they are really released, and anyone's own: each split is a `datasets.Dataset`."""

from parlib.data.check import check as check
from parlib.data.release import BENCHMARKS as BENCHMARKS
from parlib.data.release import audit_arrays as audit_arrays
from parlib.data.release import benchmark_root as benchmark_root
from parlib.data.release import benchmark_roots as benchmark_roots
from parlib.data.release import labels_of as labels_of
from parlib.data.release import load_benchmark as load_benchmark
from parlib.data.release import read_release as read_release
from parlib.data.release import schema_of as schema_of
