#!/usr/bin/env bash
# Everything that only a machine with an NVIDIA device and TensorRT can show, in one call under ten minutes:
#   benchmarks/gpu_check.sh [FRAMES]      FRAMES: a video, a folder of images or a list (the more real the better)
# CUDA code by each CUDA package that is installed (100,000 runs for leaks), engines built, compared with
# ONNX Runtime, run 100,000 times, timed. Writes benchmarks/results/gpu_check.json; every part says passed,
# failed or not run. RUNS=1000 shortens the leak tests.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD:$PWD/tests/support${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" benchmarks/gpu_check.py "$@"
