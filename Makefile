# Casa: every target sets up what it needs first. `make help` lists them.

NOTEBOOK ?= notebooks/agc-ttbar.ipynb
# Parameters of the notebook that `make run` passes on, e.g. make run N_FILES=1
N_FILES ?=
# A notebook whose kernel is casa-NAME runs in .venv-NAME, which environment/NAME.lock pins.
# PYTHON=/path/to/python3.13 makes the environment with that Python, and later calls
# keep it; by default it is the first on PATH that the locks support.
# `make test APT=0` never installs system packages.
APT ?= 1

# What brings other code into Python than the locks pin stays out, and that is said. So
# does, by -P, what lies in the working directory; paths reach the shell as variables.
FOREIGN = PYTHONHOME PYTHONPATH PYTHONPLATLIBDIR PYTHONSTARTUP PYTHONUSERBASE
FOUND := $(strip $(foreach name,$(FOREIGN),$(if $(value $(name)),$(name))))
unexport $(FOREIGN)
export PYTHONNOUSERSITE = 1

SETUP = $(if $(FOUND),echo 'casa: $(FOUND) left out: what the locks pin is what runs' >&2;) \
	python=$$(sh environment/find-python.sh) && PYTHONSAFEPATH=1 "$$python" -P environment/install.py
PY = .venv/bin/python -P

.DEFAULT_GOAL := help
.PHONY: help run lab test faults image image-test bench lint format sample lock lock-upgrade lock-check clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

run: export NOTEBOOK := $(NOTEBOOK)
run: export N_FILES := $(N_FILES)
run: ## run the AGC ttbar analysis from files to fit (NOTEBOOK=..., N_FILES=... change what)
	@layer=$$(sed -n 's/.*"name": "casa-\([a-z]*\)".*/\1/p' "$$NOTEBOOK" 2>/dev/null); \
	{ $(SETUP) "$${layer:-lab}"; } && ".venv$${layer:+-$$layer}/bin/python" -P \
		-m casa_env run "$$NOTEBOOK" $${N_FILES:+-p "N_FILES=$$N_FILES"}

lab: ## open JupyterLab
	@$(SETUP) lab
	@$(PY) -m casa_env lab

test: ## prove that everything works: unit, service and notebook tests
	@$(SETUP) test
	@$(PY) environment/system_packages.py $(if $(filter 0,$(APT)),--list,--install)
	@status=0; $(PY) -m pytest -n 2 --dist loadfile tests/unit \
		environment/fsspec-failover/tests || status=1; \
	$(PY) -m pytest tests --ignore tests/unit --ignore tests/image \
		-n 2 --dist loadscope --no-loadscope-reorder \
		--durations=20 --durations-min=20 || status=1; \
	XDG_STATE_HOME="$$PWD/.cache/state" $(PY) -m pytest --nbval-lax \
		--nbval-current-env -n 2 --dist loadfile \
		$$(grep -L '"name": "casa-' notebooks/*.ipynb) || status=1; \
	exit $$status

faults: ## inject each known fault, and print what happened in one table
	@$(SETUP) test
	@$(PY) -m pytest -m fault tests --ignore tests/image -n 2 --dist loadscope

image: ## build the images casa-lab:dev and casa-worker:dev, and compare them with the locks
	@$(SETUP) lab
	@$(PY) environment/image.py

image-test: ## build them and prove that they work; as root it starts an engine if none runs
	@$(SETUP) test
	@$(PY) environment/system_packages.py --listing image-apt.txt $(if $(filter 0,$(APT)),--list,--install)
	@$(PY) -m pytest tests/image

bench: ## measure start-up, throughput and reading (PROFILE=1: where the time goes)
	@$(SETUP) test
	@$(PY) tests/benchmarks/startup.py
	@PYTHONPATH=notebooks:tests $(PY) -m benchmarks.throughput $(if $(PROFILE),--profile)
	@PYTHONPATH=notebooks:tests $(PY) -m benchmarks.real_shapes
	@PYTHONPATH=notebooks:tests $(PY) -m benchmarks.many_pieces
	@PYTHONPATH=notebooks:tests $(PY) -m benchmarks.reading
	@PYTHONPATH=notebooks:tests $(PY) -m benchmarks.inference
	@PYTHONPATH=notebooks:tests $(PY) -m benchmarks.hzz_closure
	@PYTHONPATH=notebooks:tests $(PY) -m benchmarks.ttbar_closure

lint: ## check style and types
	@$(SETUP) test
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

format: ## format the code
	@$(SETUP) test
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

sample: ## simulate the stand-in samples again (half an hour on two cores)
	@$(SETUP) test
	@PYTHONPATH=notebooks $(PY) -m agc.standin

lock: ## resolve the locks again from the curated lists
	@$(SETUP) test
	@$(PY) environment/lock.py

lock-upgrade: ## ... with the newest versions that the lists allow
	@$(SETUP) test
	@$(PY) environment/lock.py --upgrade

lock-check: ## fail where lists and locks have drifted apart
	@$(SETUP) test
	@$(PY) environment/lock.py --check

clean: ## remove the environment, caches and results
	rm -rf .venv .venv-* .cache notebooks/results .pytest_cache .mypy_cache .ruff_cache
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}"/casa-env/numba-* "$${TMPDIR:-/tmp}/casa-env-numba-$$(id -u)"
	find casa_env environment notebooks tests -name __pycache__ -prune -exec rm -rf {} +
