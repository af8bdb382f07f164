# `make demo` and `make test` are all that a fresh checkout needs; each sets up what it uses.
.PHONY: help setup demo test test-slow soak monkey models reliability bench peers screenshots bundle lint format clean

help:
	@echo "make demo       set up, make a sample study, analyze and export it, open the window on it"
	@echo "make test       set up, then lint, types, import contracts and tests"
	@echo "make test-slow  the tests that take minutes, the frozen program among them"
	@echo "make soak       a whole day of work in an hour or so: 20 000 strokes; memory, files and threads stay as they were"
	@echo "make monkey     twenty minutes of random events in the real window: nothing raises, nothing is lost"
	@echo "make reliability  ask every bad file and series what becomes of it; print the bar: id, figure, pass"
	@echo "                  (build/reliability.tsv then says what became of each real file)"
	@echo "make models     measure every shipped model again on what its recipe holds out"
	@echo "make bench      measure against peers; make peers installs napari beside the project for it"
	@echo "make screenshots  the pictures of the user guide, from the real program"
	@echo "make bundle     build the program as one folder, dist/medviewer"
	@echo "make lint       ruff, mypy, import contracts"
	@echo "make format     let ruff put the code in shape"
	@echo "make clean      remove what was built (not .venv)"

setup:
	@sh tools/setup.sh

demo: setup
	@sh tools/demo.sh

test: setup
	@sh tools/test.sh

test-slow: setup
	@.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test,bundle]'
	@sh tools/test.sh --only-tests -m slow

soak: setup
	@MEDVIEWER_SOAK=1 sh tools/test.sh --only-tests -m slow tests/slow/test_soak.py

monkey: setup
	@MEDVIEWER_MONKEY_MINUTES=20 sh tools/test.sh --only-tests -m slow tests/gui/test_monkey_long.py

reliability: setup
	@mkdir -p build && .venv/bin/python -W ignore tools/reliability.py --files build/reliability.tsv

models: setup
	@.venv/bin/medviewer models evaluate --data ../shared/training

bench: setup
	@sh tools/test.sh --only-tests -m benchmark_run -s

peers:
	@test -d .venv-peers || python3 -m venv .venv-peers
	@.venv-peers/bin/python -m pip install -q --disable-pip-version-check "napari>=0.5" "PySide6-Essentials<6.12"

screenshots: setup
	@MEDVIEWER_GUIDE_IMAGES=docs/images sh tools/test.sh --only-tests tests/scenarios tests/gui/test_tool_stories.py tests/gui/test_oblique.py

bundle: setup
	@.venv/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[test,bundle]'
	.venv/bin/pyinstaller --noconfirm --log-level WARN medviewer.spec

lint: setup
	@sh tools/lint.sh

format: setup
	@.venv/bin/ruff check --fix --quiet . ; .venv/bin/ruff format .

clean:
	rm -rf build dist demo .mypy_cache .ruff_cache .hypothesis .benchmarks .import_linter_cache
	find medviewer plugins tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
