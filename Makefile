# Two commands matter: `make demo` shows what Carryline does, `make test` is everything CI runs.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := $(shell find src csrc -name '*.py' -o -name '*.h' -o -name '*.cc') \
           CMakeLists.txt pyproject.toml README.md constraints.txt

.PHONY: help demo serve test lint types pytest sanitize wheel wheels bench clean

help:
	@echo "make demo    install, train on real reviews, evaluate, classify your own sentences"
	@echo "make serve   the demo's model in a page: http://127.0.0.1:8000"
	@echo "make test    everything CI runs: lint, types, tests, sanitize"
	@echo "make bench   benchmarks beside their peers, into benchmarks/RESULTS.md"
	@echo "make wheel   dist/carryline-*.whl, for the Python that \$$PYTHON names (python3)"
	@echo "make wheels  a wheel for each Python from 3.10 on that is there, built and tried"
	@echo "make clean   delete all that was made"

demo: .venv/demo
	$(BIN)/python examples/demo.py $(DEMO)

serve: .venv/demo
	@test -d runs/demo/model || $(BIN)/python examples/demo.py < /dev/null
	$(BIN)/carryline serve demo=runs/demo/model $(SERVE)

test: lint types pytest sanitize

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# With the benchmarks' peers: the types of what is derived from theirs are checked, too.
types: .venv/bench
	$(BIN)/mypy

pytest: .venv/bench
	CARRYLINE_WHEEL="$$(ls dist/carryline-*.whl)" $(BIN)/python -m pytest -n 2 --dist loadfile \
	  --no-loadscope-reorder $(PYTEST)

# The kernels' tests with kernels that stop at an access out of bounds and at undefined behaviour.
# Built for g++. Blocks then begin on cache lines (redzone), as memory.py promises, and end with
# their arrays (tests/conftest.py). Python never frees all it has: leaks are not looked for.
sanitize: .venv/installed
	$(PIP) install -q --no-deps --no-build-isolation --upgrade --target build/sanitize/site \
	  --config-settings=build-dir=build/sanitize --config-settings=cmake.build-type=Debug \
	  --config-settings=cmake.define.CARRYLINE_SANITIZE=ON .
	PYTHONPATH=$(CURDIR)/build/sanitize/site ASAN_OPTIONS=detect_leaks=0:redzone=256 \
	UBSAN_OPTIONS=print_stacktrace=1 \
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  $(BIN)/python -m pytest -q -n 2 --dist loadfile --capture=sys \
	  tests/recurrence tests/model/test_network.py tests/nn/test_modules.py \
	  tests/training/test_adam.py tests/training/test_stages.py tests/training/test_vectors.py \
	  tests/training/test_linear.py tests/training/test_language.py \
	  tests/text/test_cut.py tests/text/test_ngrams.py tests/text/test_bags.py

wheel: .venv/wheel

wheels: .venv/installed
	CARRYLINE_ALL_PYTHONS=1 CARRYLINE_WHEEL="$$(ls dist/carryline-*.whl)" \
	  $(BIN)/python -m pytest tests/test_wheel.py

bench: .venv/bench
	$(BIN)/python benchmarks/results.py $(BENCH)

.venv/bench: .venv/installed
	$(PIP) install -q -c constraints.txt "$$(ls dist/carryline-*.whl)[bench]"
	@touch $@

# The wheel by force: its version may be that of the one before.
.venv/demo: EXTRAS := sklearn,plot,serve
.venv/installed: EXTRAS := all,dev
.venv/demo .venv/installed: .venv/wheel
	$(PIP) install -q -c constraints.txt "$$(ls dist/carryline-*.whl)[$(EXTRAS)]"
	$(PIP) install -q --force-reinstall --no-deps "$$(ls dist/carryline-*.whl)"
	@touch $@

# Built with the locked tools in the environment itself, so that a build is the same everywhere.
.venv/wheel: .venv/tools $(SOURCES)
	@rm -f dist/carryline-*.whl
	$(PIP) wheel -q --no-deps --no-build-isolation --wheel-dir dist .
	@touch $@

.venv/tools: constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) install -q -c constraints.txt scikit-build-core nanobind cmake ninja
	@touch $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
