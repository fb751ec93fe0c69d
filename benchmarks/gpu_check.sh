#!/usr/bin/env bash
# Everything that only a machine with an NVIDIA device and TensorRT can show, in one call under ten minutes:
#   benchmarks/gpu_check.sh [FRAMES]      FRAMES: a video, a folder of images or a list (the more real the better)
# CUDA code by each CUDA package that is installed (both wrappers, letterbox, leaks), engines built, in batches,
# compared with ONNX Runtime, timed, and run 100,000 times. Writes benchmarks/results/gpu_check.json; every part
# says passed, failed or not run. LIMIT_S (560) ends it, RUNS=1000 shortens the leak tests. Until it has passed
# on a device, edgevid's running of engines is unverified (docs/jetson.md, docs/engines.md).
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD:$PWD/tests/support${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" benchmarks/gpu_check.py "$@"
