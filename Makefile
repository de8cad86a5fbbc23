# Muster's everyday commands; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

BIN := $(CURDIR)/.bin
GO ?= go
MODULE := github.com/muster-mdm/muster

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
DATE ?= $(shell git show -s --format=%cI HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w $(addprefix -X github.com/muster-mdm/muster/cmd/muster/serve.,version=$(VERSION) commit=$(COMMIT) date=$(DATE))

# Temporal's CLI isn't here: devstack builds the version it pins, wherever it is first needed.
GOLANGCI_LINT_VERSION := v2.15.0
WORKFLOWCHECK_VERSION := v0.6.0
GOLANGCI_LINT := $(BIN)/.golangci-lint-$(GOLANGCI_LINT_VERSION)
WORKFLOWCHECK := $(BIN)/.workflowcheck-$(WORKFLOWCHECK_VERSION)

# Tests share one PostgreSQL and one Temporal server.
WITH := $(GO) run ./devstack/with --
TEST_TIMEOUT ?= 20m
export TEST_FLAGS ?=

# The root's tests and these rooms have no goroutines of their own: the race detector would only make their many property runs slow. All others run under it.
SINGLE_THREADED := provision|workflows|api/bulk

# APPLE_SCHEMA=folder checks every MDM message of the tests against Apple's published schema: it becomes the default of the
# tests' flag -apple-schema.
APPLE_SCHEMA ?=
ifneq ($(APPLE_SCHEMA),)
export MUSTER_APPLE_SCHEMA := $(abspath $(APPLE_SCHEMA))
endif

##@ Use

.PHONY: run
run: build ## Run everything here: servers, API, worker, and virtual devices that enroll (Ctrl-C stops all)
	$(BIN)/muster dev $(ARGS)

.PHONY: rehearse
rehearse: build ## Send virtual devices through their whole life and print a report (ARGS="--devices 200 --seed 7")
	$(BIN)/muster rehearse $(ARGS)

.PHONY: build
build: ## Build the static binary .bin/muster
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/muster ./cmd/muster

##@ Work

.PHONY: test
test: ## Run all tests, with PostgreSQL and Temporal found, installed or built (PKG=./store/... TEST_FLAGS=-run=Name)
	$(WITH) $(GO) test -timeout $(TEST_TIMEOUT) $$TEST_FLAGS $(or $(PKG),./...)

.PHONY: check
check: compile vet lint workflowcheck tidy generated test-race ## Everything a change must pass (the layout is one of the tests)

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## Format the code (gofumpt, goimports)
	$(BIN)/golangci-lint fmt

.PHONY: generate
generate: ## Generate code from the API's contract
	$(GO) generate ./...

.PHONY: bench
bench: build ## Measure Muster against bare Temporal and bare nanomdm, and print the table
	$(BIN)/muster bench $(ARGS)

##@ Parts of check

.PHONY: compile
compile: ## Compile everything
	$(GO) build ./...

.PHONY: vet
vet: ## Let go vet look, at tests too
	$(GO) vet ./...

.PHONY: lint
lint: $(GOLANGCI_LINT) ## Lint, and check the formatting
	$(BIN)/golangci-lint run ./...

.PHONY: workflowcheck
workflowcheck: $(WORKFLOWCHECK) ## Look for what would make a workflow's replay differ
	$(BIN)/workflowcheck -config workflows/workflowcheck.yaml ./workflows/...

.PHONY: layout
layout: ## Check that imports go down the floors
	$(GO) test . -run Layout

.PHONY: tidy
tidy: ## Check that go.mod and go.sum are tidy
	$(GO) mod tidy -diff

# Compared by content, so that it can be run before the generated files are committed.
.PHONY: generated
generated: ## Check that generated code is up to date
	@sums() { find . -name '*.gen.go' -not -path './.*' -exec cksum {} + | sort -k 3; }; \
	before=$$(sums); \
	$(GO) generate ./...; \
	if ! diff <(printf '%s\n' "$$before") <(sums); then \
		echo 'Generated code was out of date. It has been renewed by `make generate`: commit it.' >&2; exit 1; \
	fi

# One run over every package: those with goroutines under the race detector, the rest without. A failure of the first part does
# not hide the second's.
.PHONY: test-race
test-race: ## Run all tests once, those with goroutines under the race detector
	@all=$$($(GO) list ./... | sort); \
	alone='$(MODULE)(/($(SINGLE_THREADED))(/.*)?)?'; \
	single=$$(grep -xE "$$alone" <<<"$$all"); \
	racing=$$(grep -vxE "$$alone" <<<"$$all"); \
	$(WITH) bash -c 'code=0; \
		$(GO) test -race -timeout $(TEST_TIMEOUT) $$TEST_FLAGS $$1 || code=1; \
		$(GO) test -timeout $(TEST_TIMEOUT) $$TEST_FLAGS $$2 || code=1; \
		exit $$code' test-race "$$(echo $$racing)" "$$(echo $$single)"

##@ House

.PHONY: tools
tools: $(GOLANGCI_LINT) $(WORKFLOWCHECK) ## Build the tools for check into .bin/

# A stamp named by its version stands for a tool: raising the version builds it anew. One that is of this version already is kept.
# $(1): package, $(2): version, $(3): program
define install
	@mkdir -p $(BIN); rm -f $(BIN)/.$(3)-v*
	@$(GO) version -m $(BIN)/$(3) 2>/dev/null | grep -qE '^\s+mod\s.*\s$(2)(\s|$$)' || { \
		echo 'Building $(3) $(2) into .bin/ …'; GOFLAGS= GOBIN=$(BIN) $(GO) install $(1)@$(2); }
	@touch $@
endef

$(GOLANGCI_LINT):
	$(call install,github.com/golangci/golangci-lint/v2/cmd/golangci-lint,$(GOLANGCI_LINT_VERSION),golangci-lint)

$(WORKFLOWCHECK):
	$(call install,go.temporal.io/sdk/contrib/tools/workflowcheck,$(WORKFLOWCHECK_VERSION),workflowcheck)

.PHONY: reset
reset: ## Forget the state of `make run`
	@if [ -L .dev/postgres/pgdata ]; then rm -rf "$$(dirname "$$(readlink .dev/postgres/pgdata)")"; fi
	rm -rf .dev

.PHONY: clean
clean: reset ## Remove what was built, and the state of `make run`; the tools in .bin/ stay
	rm -f .bin/muster
	$(GO) clean

.PHONY: help
help: ## List these commands
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
