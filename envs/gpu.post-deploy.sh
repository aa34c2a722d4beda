#!/usr/bin/env bash
# Runs once in the folder of the workflow, inside the new conda environment: the same pins as `make setup-gpu`.
set -euo pipefail
python -m pip install --no-deps -r envs/gpu.txt
python -m pip install --no-deps -e .
