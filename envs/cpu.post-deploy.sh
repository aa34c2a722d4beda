#!/usr/bin/env bash
# Runs once in the folder of the workflow, inside the new conda environment: the same pins as `make setup`.
set -euo pipefail
python -m pip install torch==2.13.0 ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
python -m pip install --no-deps -r envs/cpu.txt
python -m pip install --no-deps -e .
