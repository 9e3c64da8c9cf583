# Everything a person does with this repository. `make help` lists it.
# All that is built or downloaded lands below target/.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

CARGO ?= cargo
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
# Tools that tests/setup had to build itself.
export PATH := $(CURDIR)/target/tools/bin:$(PATH)

# Where `make install` puts things. DESTDIR is for packagers.
PREFIX ?= $(HOME)/.local
$(if $(filter /%,$(PREFIX)),,$(error PREFIX must be an absolute path: the unit file names it))
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man/man1
BASH_COMPLETIONS ?= $(PREFIX)/share/bash-completion/completions
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions
FISH_COMPLETIONS ?= $(PREFIX)/share/fish/vendor_completions.d
# systemd looks here for user units, be PREFIX ~/.local, /usr/local or /usr.
UNITDIR ?= $(PREFIX)/share/systemd/user
AGENTDIR ?= $(HOME)/Library/LaunchAgents
LOGDIR ?= $(HOME)/Library/Logs

# The service manager: systemd, launchd or none.
SERVICE ?= $(if $(filter Darwin,$(shell uname -s)),launchd,systemd)
UNIT := spindled.service
AGENT := dev.spindle.spindled.plist

RELEASE := $(CARGO_TARGET_DIR)/release
# A directory is made as the umask says; what is in it is readable by all.
PUT := install -m 644
PUT_PROGRAM := install -m 755

##@ Try and check

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nPREFIX=%s (where install puts things)\n' '$(PREFIX)'

.PHONY: demo
demo: ## See it work: a scratch daemon, a loop of the real Codex CLI, a kill on the way
	$(CARGO) build --locked --workspace --bins
	tests/demo/run

.PHONY: test
test: ## Install what the tests need, then run them all
	tests/setup test
	tests/run

.PHONY: lint
lint: ## Check format, lints, documentation, dependencies, scripts and units
	tests/setup lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@# The client library alone, and the command without a line of the daemon.
	$(CARGO) clippy --locked --package spindled --lib --no-default-features -- -D warnings
	$(CARGO) clippy --locked --package spindled --bin spindle --no-default-features --features ctl -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --document-private-items
	tests/lint

.PHONY: bench
bench: ## Measure, each figure as a ratio to a reference measured in the same run
	$(CARGO) build --locked --release
	$(CARGO) run --locked --release --package bench

.PHONY: audit
audit: ## Look dependencies up in the advisory database (needs the network)
	tests/setup lint
	$(CARGO) deny --locked check advisories

##@ Install

.PHONY: build
build: ## Build both programs for use
	$(CARGO) build --locked --release

.PHONY: install
install: install-programs install-manual install-service ## Install for this user (or below PREFIX)

.PHONY: install-programs
install-programs: build
	mkdir -p '$(DESTDIR)$(BINDIR)'
	$(PUT_PROGRAM) '$(RELEASE)/spindled' '$(RELEASE)/spindle' '$(DESTDIR)$(BINDIR)'

.PHONY: install-manual
install-manual: build
	mkdir -p '$(DESTDIR)$(MANDIR)' '$(DESTDIR)$(BASH_COMPLETIONS)' '$(DESTDIR)$(ZSH_COMPLETIONS)' '$(DESTDIR)$(FISH_COMPLETIONS)'
	'$(RELEASE)/spindle' man --dir '$(DESTDIR)$(MANDIR)'
	'$(RELEASE)/spindle' completions bash >'$(DESTDIR)$(BASH_COMPLETIONS)/spindle'
	'$(RELEASE)/spindle' completions zsh >'$(DESTDIR)$(ZSH_COMPLETIONS)/_spindle'
	'$(RELEASE)/spindle' completions fish >'$(DESTDIR)$(FISH_COMPLETIONS)/spindle.fish'

# Installs the unit only. Whether the daemon starts at login is the user's decision.
.PHONY: install-service install-systemd install-launchd install-none
install-service: install-$(SERVICE)

install-systemd:
	mkdir -p '$(DESTDIR)$(UNITDIR)'
	sed 's|%h/\.local/bin|$(BINDIR)|' systemd/$(UNIT) >'$(DESTDIR)$(UNITDIR)/$(UNIT)'
	@echo 'To start it now and at every login: systemctl --user daemon-reload && systemctl --user enable --now spindled'

install-launchd:
	mkdir -p '$(DESTDIR)$(AGENTDIR)'
	sed -e 's|@BINDIR@|$(BINDIR)|' -e 's|@LOGDIR@|$(LOGDIR)|' systemd/$(AGENT) >'$(DESTDIR)$(AGENTDIR)/$(AGENT)'
	@echo 'To start it now and at every login: launchctl bootstrap gui/$$(id -u) $(AGENTDIR)/$(AGENT)'

install-none:

.PHONY: uninstall
uninstall: ## Remove what install has put there; runs and their logs stay
	rm -f '$(DESTDIR)$(BINDIR)/spindled' '$(DESTDIR)$(BINDIR)/spindle'
	rm -f '$(DESTDIR)$(MANDIR)'/spindle.1 '$(DESTDIR)$(MANDIR)'/spindle-*.1 '$(DESTDIR)$(MANDIR)'/spindled.1
	rm -f '$(DESTDIR)$(BASH_COMPLETIONS)/spindle' '$(DESTDIR)$(ZSH_COMPLETIONS)/_spindle' '$(DESTDIR)$(FISH_COMPLETIONS)/spindle.fish'
	rm -f '$(DESTDIR)$(UNITDIR)/$(UNIT)' '$(DESTDIR)$(AGENTDIR)/$(AGENT)'
	@echo 'A daemon that still runs goes on until it is stopped. If it started at login: systemctl --user disable --now spindled'

.PHONY: clean
clean: ## Remove everything that was built or downloaded
	$(CARGO) clean
	rm -rf target
