#!/usr/bin/env bash
# Measures again what README.md here says of speed, one question after the other; estimated at a quarter of an hour on a quiet machine.
set -e
cd "$(dirname "$0")/.."
export OMP_WAIT_POLICY=PASSIVE
python benchmarks/encode.py extraction --repeats 2
python benchmarks/store.py training --encoder base-224 --repeats 2
python benchmarks/store.py cost
python benchmarks/head.py --repeats 2
python benchmarks/predict.py
python benchmarks/costs.py
python benchmarks/seeds.py
python tools/readme.py # the table of costs in README
