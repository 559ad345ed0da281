# make demo and make test are the whole set-up: each makes .venv, installs what it needs and runs.

PYTHON := $(shell for p in python3.11 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 && echo $$p && break; done)
BIN := .venv/bin
EXTRAS := training,exporters,service,edits

.PHONY: demo test test-blender lint types results properties clean

demo: .venv/.installed
	$(BIN)/vdub demo

test: .venv/.installed-dev .venv/.installed-opencue
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	OPENCUE_SITE=$(CURDIR)/.venv/opencue $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --durations=20

test-blender: .venv/.installed-blender  # the add-on in Blender itself, 967 MB; Python 3.11 alone
	$(BIN)/python -m pytest -m blender -s tests/hosts

lint: .venv/.installed-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: .venv/.installed-dev  # the second run sees what Windows does not have
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy --platform win32 --cache-dir .mypy_cache/win32 visualdub

results:  # docs/results.md from docs/results/*.json
	$(PYTHON) benchmarks/results.py

properties: .venv/.installed-dev  # docs/properties.md from small clips
	$(BIN)/python -m benchmarks.properties

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or 3.12 found; install one, or: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	touch $@

.venv/.installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS),farm,openvino,dev]"
	touch $@ .venv/.installed

.venv/.installed-opencue: constraints-opencue.txt | .venv/bin/python  # its protobuf does not fit beside MediaPipe's
	rm -rf .venv/opencue  # pip --upgrade would put the scripts in place of its package `bin`
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target .venv/opencue -r $<
	touch $@

.venv/.installed-blender: .venv/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[blender]"
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
