# Everything a developer does here. `make` alone says what each target is for.

PYTHON ?= python3
VENV ?= .venv
# The PyTorch to install. deploy/torch_index.py chooses where from, so that no CUDA is fetched unasked: TORCH_INDEX names
# an index, CUDA=1 says that CUDA is wanted.
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
CUDA ?=
# What `make demo` classifies: `photographs` are the pictures in examples/; or a data set, the folder that holds it
# (digits are inside the package), and a bundle for it. LIVE=1 draws the run on the terminal, RATE=30 slows it for people
# who watch.
DATASET ?= photographs
DATA_DIR ?=
BUNDLE ?= models/resnet18-$(if $(filter photographs,$(DATASET)),caltech101-128,$(DATASET))
LIMIT ?=
LIVE ?=
RATE ?=
PHOTOGRAPHS = examples/photographs

# Where `make certs` writes, and which names and addresses the cloud's certificate is for. EDGE=name adds an edge,
# RENEW=name renews a certificate, REVOKE=name takes a token back, FORCE=1 replaces the authority.
CERTS ?= certs
NAMES ?=
EDGE ?=
RENEW ?=
REVOKE ?=
FORCE ?=

# How long `make fuzz` goes on, and where it writes what it did.
SECONDS_OF_FUZZ ?= 600
FUZZ_VENV ?= .venv-fuzz
AUDIT_VENV ?= .venv-audit
RECORDING_VENV ?= .venv-recording
FUZZ_RECORD ?= benchmarks/records/$(shell date +%F)-fuzz

BIN := $(VENV)/bin
# The pair alone, without PyTorch: what `make demo` needs.
DEMO_VENV ?= .venv-demo
# The generator's own environment: its pins are older than what the pair runs with, so that images with older
# libraries still load the generated code.
PROTO_VENV ?= .venv-proto
PROTO_BIN := $(CURDIR)/$(PROTO_VENV)/bin
PROTOC = PATH="$(PROTO_BIN):$$PATH" $(PROTO_BIN)/python -m grpc_tools.protoc -I . --mypy_out=quiet:$(1) \
	--mypy_grpc_out=quiet:$(1) --python_out=$(1) --grpc_python_out=$(1) protos/co_inference.proto

.DEFAULT_GOAL := help
.PHONY: help setup dashboard prometheus mosquitto up down logs proto proto-check format lint type imports test fuzz certs audit demo bench clean

help: ## say what each target does
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

setup: $(VENV)/.installed ## make the virtual environment with everything in it

OLD_PYTHON := import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	"Python 3.11 or newer is needed; name one with PYTHON=python3.11")

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c '$(OLD_PYTHON)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@flags=$$(CUDA=$(CUDA) TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python deploy/torch_index.py "$(TORCH)") && set -x && \
		$(BIN)/python -m pip install --quiet $$flags "$(TORCH)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[edge,cloud,train,bench,rival,docs,dev]'
	touch $@

$(DEMO_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c '$(OLD_PYTHON)'
	test -x $(DEMO_VENV)/bin/python || $(PYTHON) -m venv $(DEMO_VENV)
	$(DEMO_VENV)/bin/python -m pip install --quiet --no-compile -c constraints.txt -e '.[edge,cloud]'
	touch $@

proto: $(PROTO_VENV)/.installed ## generate the protobuf and gRPC code
	$(call PROTOC,.)

proto-check: $(PROTO_VENV)/.installed ## fail if the generated code is not what protos/ gives
	@out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && $(call PROTOC,$$out) && \
	for file in "$$out"/protos/*; do diff -u "protos/$${file##*/}" "$$file" || \
		{ echo "error: protos/$${file##*/} is stale: run 'make proto'"; exit 1; }; done

$(PROTO_VENV)/.installed: protos/requirements.txt
	test -x $(PROTO_BIN)/python || $(PYTHON) -m venv $(PROTO_VENV)
	$(PROTO_BIN)/python -m pip install --quiet -r protos/requirements.txt
	touch $@

format: setup ## lay the code out and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/rumdl fmt .

lint: setup ## ruff: rules and layout; vermin: what an edge runs keeps to Python 3.10; pages: layout, links, prose
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vermin --target=3.10- --eval-annotations --no-tips --violations --quiet neucodex protos shared edge_client
	$(BIN)/rumdl check .
	$(BIN)/python -m docs.prose

type: setup ## mypy, strict
	$(BIN)/mypy
	$(BIN)/mypy deploy/grafana/dashboard.py
	$(BIN)/mypy deploy/release.py

.PHONY: reference docs
reference: setup ## write docs/reference/ from the code
	$(BIN)/python -m docs.generate

# Strict: a link or an anchor that leads nowhere is an error.
docs: setup ## the pages as a site, in build/site
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --conf-dir docs . build/site
	@echo "build/site/docs/site.html"

dashboard: setup ## write Grafana's dashboard from deploy/grafana/questions.py
	$(BIN)/python deploy/grafana/dashboard.py > deploy/grafana/dashboards/neucodex.json

# Unpacked, not installed: nothing runs and nothing outside build/ changes. The tests look in the PATH first.
prometheus: ## Debian's Prometheus into build/, for the tests of dashboard and alerts
	@command -v prometheus >/dev/null || test -x build/prometheus/usr/bin/prometheus || { \
		mkdir -p build/prometheus && cd build/prometheus && \
		{ apt-get download -qq prometheus || { apt-get update -qq && apt-get download -qq prometheus; }; } && \
		dpkg -x prometheus_*.deb . && rm prometheus_*.deb; }

mosquitto: ## Debian's MQTT broker into build/, for the tests of --mqtt
	@command -v mosquitto >/dev/null || test -x build/mosquitto/usr/sbin/mosquitto || { \
		mkdir -p build/mosquitto && cd build/mosquitto && packages="mosquitto libcjson1 libdlt2 libwrap0" && \
		{ apt-get download -qq $$packages || { apt-get update -qq && apt-get download -qq $$packages; }; } && \
		for package in *.deb; do dpkg -x "$$package" .; done && rm -- *.deb; }

# The pair in containers, as `docker compose up`: GPU=1 and TLS=1 lay their files over docker-compose.yml.
GPU ?=
TLS ?=
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
COMPOSED = REVISION=$$(git rev-parse --short HEAD 2>/dev/null || echo unknown) $(COMPOSE) \
	-f docker-compose.yml $(if $(GPU),-f docker-compose.gpu.yml) $(if $(TLS),-f docker-compose.tls.yml)

up: ## the pair, Prometheus and Grafana in containers; GPU=1, TLS=1
	$(COMPOSED) up --build --detach
	@echo "Grafana: http://localhost:$${GRAFANA_PORT:-3000}   Prometheus: http://localhost:$${PROMETHEUS_PORT:-9090}"

down: ## end what `make up` began
	$(COMPOSED) down

logs: ## what they say
	$(COMPOSED) logs --follow --tail 50

imports: setup ## who may import whom
	$(BIN)/lint-imports

# Three workers for two cores: many tests wait for processes that they start. The tests of a file stay together, since
# they share what the file sets up. Files are handed out as testpaths has them, long ones first. One thread each: more
# would only compete.
WORKERS ?= 3

test: setup ## all tests; WORKERS=N at a time (3)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: test-containers
test-containers: setup ## images, compose file, arm64, as root on Debian; RECORDS=DIR keeps records
	$(BIN)/python -m pytest tests/containers $(if $(RECORDS),--records $(RECORDS))

# libFuzzer's arguments for all but the codec's decoders, whose frames are short.
FUZZ = PYTHONPATH=. $(FUZZ_VENV)/bin/python tests/fuzz/fuzz_$(1).py -max_total_time=$(SECONDS_OF_FUZZ) -max_len=4096 \
	-len_control=0 -artifact_prefix=$(FUZZ_VENV)/ $(FUZZ_VENV)/corpus-$(1)

fuzz: $(FUZZ_VENV)/.installed ## feed codec, recordings, bundles and messages with anything, each for SECONDS_OF_FUZZ (600)
	PYTHONPATH=. $(FUZZ_VENV)/bin/python tests/fuzz/fuzz_codec.py -max_total_time=$(SECONDS_OF_FUZZ) -max_len=128 \
		-artifact_prefix=$(FUZZ_VENV)/ --record $(FUZZ_RECORD) $(FUZZ_VENV)/corpus
	$(call FUZZ,recordings)
	$(call FUZZ,bundles)
	$(call FUZZ,messages)

$(FUZZ_VENV)/.installed: constraints.txt
	test -x $(FUZZ_VENV)/bin/python || $(PYTHON) -m venv $(FUZZ_VENV)
	$(FUZZ_VENV)/bin/python -m pip install --quiet -c constraints.txt atheris numpy constriction zstandard safetensors dacite \
		protobuf grpcio googleapis-common-protos prometheus-client click rich python-json-logger
	touch $@

.PHONY: node
node: examples/node/node_modules/.installed ## what the example edge in Node needs, where there is Node

examples/node/node_modules/.installed: examples/node/package-lock.json
	cd examples/node && npm ci --no-audit --no-fund --silent
	touch $@

certs: setup ## an authority, certificates and tokens in CERTS (certs) for the cloud NAMES; EDGE=, RENEW=, REVOKE=, FORCE=1
	@$(BIN)/python deploy/certs.py $(CERTS) $(NAMES) $(if $(EDGE),--edge $(EDGE)) $(if $(RENEW),--renew $(RENEW)) \
		$(if $(REVOKE),--revoke $(REVOKE)) $(if $(FORCE),--force)

# Strict: a package that could not be looked up fails, or an index that is out of reach would look like a clean bill.
audit: setup ## known vulnerabilities of the pinned packages
	test -x $(AUDIT_VENV)/bin/pip-audit || { $(PYTHON) -m venv $(AUDIT_VENV) && $(AUDIT_VENV)/bin/python -m pip install --quiet pip-audit; }
	$(AUDIT_VENV)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

# The extras of the two images, as their Dockerfiles have them.
CLOUD_IMAGE = cloud signed
EDGE_IMAGE = edge watch video events mqtt signed
SUPPLY_VENV ?= .venv-supply
dashed = $(subst $(eval ) ,-,$(1))

$(SUPPLY_VENV)/.installed: Makefile
	test -x $(SUPPLY_VENV)/bin/python || $(PYTHON) -m venv $(SUPPLY_VENV)
	$(SUPPLY_VENV)/bin/python -m pip install --quiet 'uv>=0.9' 'cyclonedx-bom>=7'
	touch $@

.PHONY: requirements sbom
requirements: $(SUPPLY_VENV)/.installed ## pin what the images install, with hashes for amd64 and arm64, in deploy/requirements/
	@$(call pin,$(CLOUD_IMAGE)) && $(call pin,$(EDGE_IMAGE))

# No index, no path: what is written must not depend on the machine.
define pin
$(PYTHON) deploy/requirements.py pyproject.toml $(1) | $(SUPPLY_VENV)/bin/uv pip compile --quiet --universal \
	--python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	-c constraints.txt - -o deploy/requirements/$(call dashed,$(1)).txt
endef

sbom: $(SUPPLY_VENV)/.installed ## a bill of materials (CycloneDX) of what each image installs, into build/sbom/
	@$(call bill,cloud,$(CLOUD_IMAGE)) && $(call bill,edge,$(EDGE_IMAGE))

define bill
mkdir -p build/sbom && rm -rf build/sbom/$(1) && $(PYTHON) -m venv build/sbom/$(1) && \
	build/sbom/$(1)/bin/python -m pip install --quiet --require-hashes -r deploy/requirements/$(call dashed,$(2)).txt && \
	build/sbom/$(1)/bin/python -m pip uninstall --quiet --yes setuptools pip 2>/dev/null && \
	$(SUPPLY_VENV)/bin/cyclonedx-py environment --gather-license-texts --output-reproducible --output-format JSON \
		--output-file build/sbom/$(1).cdx.json build/sbom/$(1)/bin/python && echo build/sbom/$(1).cdx.json
endef

# Versions agree, the changelog has a release with its top ten, nothing is uncommitted.
.PHONY: release
release: ## is this commit ready to be tagged as a release?
	@$(PYTHON) deploy/release.py

demo: $(DEMO_VENV)/.installed ## an edge and a cloud classify photographs together; DATASET=digits
	$(DEMO_VENV)/bin/python -m benchmarks.demo --bundle $(BUNDLE) \
		$(if $(filter photographs,$(DATASET)),--images $(PHOTOGRAPHS),--dataset $(DATASET)) \
		$(if $(DATA_DIR),--data $(DATA_DIR)) $(if $(LIMIT),--limit $(LIMIT)) $(if $(LIVE),--live) $(if $(RATE),--rate $(RATE))

# A real run on a terminal of 80 columns, as a vector picture that moves in any browser. README shows it.
RECORDED = demo LIVE=1 RATE=$(or $(RATE),30)$(if $(filter-out photographs,$(DATASET)), DATASET=$(DATASET))
.PHONY: recording
recording: $(DEMO_VENV)/.installed ## record `make demo LIVE=1` into docs/figures/demo.svg; DATASET=, RATE=30
	test -x $(RECORDING_VENV)/bin/termtosvg || { $(PYTHON) -m venv $(RECORDING_VENV) && \
		$(RECORDING_VENV)/bin/python -m pip install --quiet 'termtosvg-ng==1.4.1'; }
	$(RECORDING_VENV)/bin/termtosvg docs/figures/demo.svg --screen-geometry 80x28 --template window_frame \
		--min-frame-duration 100 --max-frame-duration 2000 --loop-delay 6000 \
		--command "sh -c 'echo \"\$$ make $(RECORDED)\"; exec $(MAKE) --silent $(RECORDED)'"

bench: setup ## the benchmarks; WHAT=name runs one
	$(BIN)/neucodex-bench $(or $(WHAT),--help)

.PHONY: report
report: setup ## the testbed's report from its newest committed record into docs/; RECORD=DIR names another
	$(BIN)/neucodex-bench report $(if $(RECORD),--record $(RECORD))

.PHONY: soak
soak: DATASET := $(or $(filter-out photographs,$(DATASET)),digits)
soak: setup ## a million frames through one cloud: does it grow? TINY=1: with a tiny network, in minutes
	$(BIN)/python -m benchmarks soak $(if $(TINY),--tiny) --bundle $(BUNDLE) --dataset $(DATASET) $(if $(DATA_DIR),--data $(DATA_DIR))

clean: ## remove the environments and caches
	rm -rf $(VENV) $(DEMO_VENV) $(PROTO_VENV) $(FUZZ_VENV) $(AUDIT_VENV) $(SUPPLY_VENV) $(RECORDING_VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
