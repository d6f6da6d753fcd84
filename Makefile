# Every target does its own set-up on a fresh Debian 12 machine, and nothing when it is done already.
# `make help` lists them. Everything made lies in .cache, .tools, .venv, build and dist.

SHELL := /bin/sh
.SHELLFLAGS := -eu -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON := .venv/bin/python
UV := .tools/bin/uv
WORKERS ?= 2
TESTS ?= tests
PYTEST := .venv/bin/pytest -n $(WORKERS) --dist worksteal
APT := .cache/stamps/apt
DEV := .cache/stamps/dev
COMPILED := tvix/eval/compiled-from
EVALUATOR := $(shell find tvix/eval -name '*.py')
KERNELS := .cache/kernels/6.1/version .cache/kernels/6.12/version

.PHONY: help
help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## */  make \1\t/p' Makefile | expand -t 20

.PHONY: demo
demo: export PYTHONUNBUFFERED = 1
demo:  ## boot a virtual machine that runs a program out of a remote store
	@packaging/announce.sh demo
	@$(MAKE) --no-print-directory image-tiny hello
	@$(PYTHON) examples/hello/demo.py

.PHONY: dev
dev: $(DEV) $(COMPILED)  ## make .venv, with the program as .venv/bin/tvix, and compile the evaluator

.PHONY: test
test: $(DEV) $(COMPILED) freeze test-images hello  ## lint, then every test, on WORKERS=2 cores; TESTS=path runs some
	@$(PYTEST) $(TESTS)

.PHONY: lint
lint: $(DEV)  ## ruff, mypy --strict and the layer contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/mypy packaging/*.py
	@.venv/bin/mypy examples/hello/*.py
	@.venv/bin/mypy examples/embedding/*.py
	@.venv/bin/lint-imports --no-cache

.PHONY: bench
bench: $(DEV) $(COMPILED) freeze test-images hello  ## the figures of the README, as ratios to their peers
	@$(PYTHON) -m tests.bench

.PHONY: freeze
freeze: $(DEV) $(COMPILED)  ## dist/host/tvix, dist/initrd-minimal, dist/initrd-tiny, dist/initrd-builder
	@$(PYTHON) packaging/freeze.py

.PHONY: image
image: $(DEV) $(COMPILED) .cache/kernels/6.1/version  ## dist/initrd-minimal.img for Debian's kernel
	@$(PYTHON) packaging/freeze.py initrd-minimal
	@$(PYTHON) packaging/images.py initrd-minimal

.PHONY: image-tiny
image-tiny: $(DEV) $(COMPILED) .cache/kernels/6.1/version  ## dist/initrd-tiny.img, for stores that are served with tvix+tcp or tvix+tls
	@$(PYTHON) packaging/freeze.py initrd-tiny
	@$(PYTHON) packaging/images.py initrd-tiny

.PHONY: test-images
test-images: $(DEV) $(COMPILED) $(KERNELS)  # the same for the other kernels that tests boot, and for initrd-tiny
	@$(PYTHON) packaging/freeze.py initrd-minimal initrd-tiny
	@$(PYTHON) packaging/images.py

.PHONY: hello
hello: $(DEV)  ## the example closure, in .cache/hello
	@$(PYTHON) examples/hello/build.py

.PHONY: soak
soak: export TVIX_SOAK = 1
soak: $(DEV) $(COMPILED) freeze test-images hello  ## randomised tests with ten times the counts; SEED=n replays
	@$(PYTEST) -m soak $(TESTS)

.PHONY: proto
proto: $(DEV)  ## generate tvix/proto from protos/
	@$(PYTHON) packaging/generate_protos.py

.PHONY: lock
lock: .tools/bin/uv  ## resolve requirements.lock anew from pyproject.toml
	@$(UV) pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --extra dev --python /usr/bin/python3 pyproject.toml -o requirements.lock

.PHONY: clean
clean:  ## remove what was built; .venv and downloads stay (make distclean removes those too)
	find tvix -name '*.so' -delete
	rm -rf tvix__mypyc.*.so $(COMPILED) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .cache/initrd

.PHONY: distclean
distclean: clean
	rm -rf .venv .tools .cache *.egg-info

$(APT): packaging/apt-packages.txt packaging/install-apt-packages.sh
	@packaging/install-apt-packages.sh
	@mkdir -p $(@D) && touch $@

.tools/bin/uv: packaging/tools.lock | $(APT)
	@echo "Making .tools (uv)" >&2
	@/usr/bin/python3 -m venv .tools
	@.tools/bin/pip install -q --disable-pip-version-check --require-hashes -r packaging/tools.lock
	@touch $@

$(DEV): requirements.lock pyproject.toml | $(APT) .tools/bin/uv
	@echo "Making .venv (locked Python packages)" >&2
	@test -x $(PYTHON) || $(UV) venv -q --python /usr/bin/python3 .venv
	@$(UV) pip sync -q --require-hashes --python $(PYTHON) requirements.lock
	@TVIX_PURE=1 $(UV) pip install -q --python $(PYTHON) --no-deps --no-build-isolation --config-setting editable_mode=compat -e .
	@mkdir -p $(@D) && touch $@

$(COMPILED): $(EVALUATOR) setup.py packaging/mypyc_deallocation.h packaging/arenas.c | $(DEV)
	@echo "Compiling the evaluator (one or two minutes; log: build/compile.log)" >&2
	@mkdir -p build
	@$(PYTHON) setup.py -q build_ext --inplace >build/compile.log 2>&1 || { cat build/compile.log >&2; exit 1; }
	@touch $@

.cache/kernels/%/version: | $(DEV)
	@$(PYTHON) packaging/fetch_kernels.py $*
