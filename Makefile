# hostfw: `make` lists the targets. On a new Debian 12 or 13: `sudo make try`, then `sudo make test`.

# Debian's interpreter, always: python3-nftables and its kin are built for no other.
PYTHON := /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# As many examples of each property as CI tries (make soak tries many more); without it a few, for while one works.
FULL := $(PYTEST) --hypothesis-profile=full
# What sudo made in somebody's tree becomes theirs; to be used behind a command whose exit code counts.
GIVE_BACK = status=$$?; [ "$${SUDO_UID:-0}" = 0 ] || chown -R "$$SUDO_UID:$$SUDO_GID" .; exit $$status
# The folder of a test that passed goes with it: thousands of them, kept, are removed by the third run after it, one by one.
FORGET := --override-ini=tmp_path_retention_policy=failed
# How long `make fuzz` gives each target.
SECONDS ?= 60
# The tiers that have a kernel of their own, and mostly wait for it: three files at a time. What is marked `alone` measures
# the machine, and has it to itself afterwards.
NAMESPACES := kernel attacks
HOSTS := system
SCRIPTS := tools/bootstrap tools/ansible-lint tools/build-deb tools/molecule tools/clean-room .ci/run units/hostfw-boot debian/hostfw.prerm debian/hostfw.postrm debian/tests/service
# What the installed package consists of besides Python modules; debian/rules calls `data` and `install-data`.
PAGES := $(patsubst docs/man/%.scd,build/man/%,$(wildcard docs/man/*.scd))
SHELLS := build/completion/bash build/completion/fish build/completion/zsh
DATA := build/failsafe.nft build/hostfw.schema.json $(SHELLS) $(PAGES)
MODULES := $(shell find hostfw -name '*.py')
INSTALL = install -D --mode=644
LIB = $(DESTDIR)/usr/lib
SHARE = $(DESTDIR)/usr/share

# Ansible's tools: apart from ours, since they pin what they need.
ANSIBLE := .venv-ansible

.DEFAULT_GOAL := help
.PHONY: help try test quick slow kernel attacks system fuzz soak golden schema bench docs deb install data install-data lint ruff format types imports \
	spelling shell yaml venv ansible molecule ansible-lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

try: ## (sudo) put the examples in force on a throw-away host and send packets through them
	@tools/bootstrap try
	@$(PYTHON) -m lab.tryout; $(GIVE_BACK)

test: ## (sudo) everything: the linters and every tier of tests
	@tools/bootstrap test
	@tools/bootstrap system
	@$(MAKE) --no-print-directory venv
	@$(FULL) --numprocesses=2 $(addprefix --ignore=tests/,$(NAMESPACES) $(HOSTS)) tests; beside=$$?; \
		$(FULL) --numprocesses=3 --dist=loadfile --timeout=300 -m 'not alone' $(addprefix tests/,$(HOSTS) $(NAMESPACES)); waiting=$$?; \
		$(FULL) -m alone $(addprefix tests/,$(HOSTS) $(NAMESPACES)); alone=$$?; \
		(exit $$((beside ? beside : waiting ? waiting : alone))); $(GIVE_BACK)

quick: venv ## what to run while working: unit, golden and property tests but the slow ones, under a minute, no root
	PYTHONDONTWRITEBYTECODE= $(PYTEST) -q --quick $(FORGET) --numprocesses=auto tests/unit tests/golden tests/property

slow: venv ## time the tests of the quick tiers, and write which of them `make quick` leaves out; then read the diff
	$(PYTEST) -q --update-slow --numprocesses=auto tests/unit tests/golden tests/property

kernel: venv ## (sudo) real packets through real rulesets, in network namespaces
	@$(FULL) tests/kernel; $(GIVE_BACK)

attacks: venv ## (sudo) what tries to get past a policy: packets, users, containers, names; a minute
	@$(FULL) tests/attacks; $(GIVE_BACK)

system: venv ## (sudo) the installed package on whole Debian hosts that boot systemd, in containers
	@tools/bootstrap system
	@$(PYTEST) tests/system; $(GIVE_BACK)

molecule: ansible ## (sudo) the Ansible collection on hosts that boot systemd; SCENARIO=lockout for one
	@tools/bootstrap molecule
	@tools/molecule $(SCENARIO); $(GIVE_BACK)

fuzz: venv ## mutate what hostfw reads, for SECONDS=60 each, and hold it to what must hold
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-fuzz.txt || \
		echo 'pip cannot install atheris: is this x86-64, and is there a network?' >&2
	@nice $(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)

soak: venv ## (sudo) the long tests, at full count: properties beside what has a kernel, then fuzzing
	@mkdir -p build
	@$(PYTEST) --soak --timeout=7200 tests/property >build/soak-property.log 2>&1 & properties=$$!; \
		$(PYTEST) --soak --timeout=7200 tests/kernel tests/system; status=$$?; \
		wait $$properties || status=1; cat build/soak-property.log; (exit $$status); $(GIVE_BACK)
	@$(MAKE) --no-print-directory fuzz SECONDS=300; $(GIVE_BACK)

golden: venv schema ## write the golden files anew; then read the diff
	$(PYTEST) -q --update-golden tests/golden

schema: ## write the JSON Schema of configuration files anew, for editors
	@mkdir -p schema
	$(PYTHON) -m hostfw.cli schema >schema/hostfw.schema.json

bench: ## (sudo) the figures that hostfw claims, each a ratio against a baseline in the same run
	@$(PYTHON) -m bench; $(GIVE_BACK)

docs: venv ## the documentation as a site, in build/site, with its links checked
	$(BIN)/python -m tools.site

deb: ## (sudo, for what it installs to build with) a Debian package in dist/, for Debian 12 and 13 alike
	@tools/bootstrap deb
	@tools/build-deb; $(GIVE_BACK)

install: data install-data ## install below DESTDIR without a package manager
	install -d $(LIB)/python3/dist-packages
	tar --create --exclude=__pycache__ hostfw | tar --extract --no-same-owner -C $(LIB)/python3/dist-packages

data: $(DATA)

install-data: data
	install -D --mode=755 -t $(DESTDIR)/usr/bin units/hostfwctl
	install -D --mode=755 units/hostfw-boot $(LIB)/hostfw/boot
	install -D --mode=755 -t $(LIB)/hostfw units/crowdsec-bouncer
	$(INSTALL) units/fail2ban-action.conf $(DESTDIR)/etc/fail2ban/action.d/hostfw.conf
	$(INSTALL) -t $(LIB)/systemd/system units/hostfw-boot.service units/hostfw.service units/hostfw-feed@.service units/hostfw-feed@.timer units/hostfw-pull.service units/hostfw-pull.timer units/hostfw-workloads@.service
	$(INSTALL) -t $(LIB)/systemd/system-preset units/90-hostfw.preset
	$(INSTALL) units/hostfw.tmpfiles $(LIB)/tmpfiles.d/hostfw.conf
	$(INSTALL) -t $(LIB)/udev/rules.d units/90-hostfw.rules
	for catalog in $(wildcard units/*.catalog); do $(INSTALL) -t $(LIB)/systemd/catalog $$catalog || exit; done
	$(INSTALL) -t $(SHARE)/hostfw build/failsafe.nft build/hostfw.schema.json
	$(INSTALL) build/completion/bash $(SHARE)/bash-completion/completions/hostfwctl
	$(INSTALL) build/completion/fish $(SHARE)/fish/vendor_completions.d/hostfwctl.fish
	$(INSTALL) build/completion/zsh $(SHARE)/zsh/vendor-completions/_hostfwctl
	for page in $(PAGES); do $(INSTALL) -t $(SHARE)/man/man$${page##*.} $$page || exit; done
	ln -sf hostfw.service.8 $(SHARE)/man/man8/hostfw-boot.service.8
	install -d $(DESTDIR)/etc/hostfw

# What protects a host before anything is accepted: what no configuration at all compiles to, whatever the host.
build/failsafe.nft: units/bare-host.json $(MODULES)
	@mkdir -p build/nothing
	$(PYTHON) -m hostfw.cli compile -f build/nothing --facts $< >$@.tmp
	mv $@.tmp $@

build/hostfw.schema.json: $(MODULES)
	@mkdir -p build
	$(PYTHON) -m hostfw.cli schema >$@.tmp
	mv $@.tmp $@

build/completion/%: $(MODULES)
	@mkdir -p build/completion
	$(PYTHON) -m hostfw.cli completion $* >$@.tmp
	mv $@.tmp $@

build/man/%: docs/man/%.scd docs/audit.md tools/manual.py $(MODULES)
	@mkdir -p build/man
	$(PYTHON) -m tools.manual $< >$@.scd
	scdoc <$@.scd >$@.tmp
	mv $@.tmp $@

lint: ruff types imports spelling shell yaml ## every linter

ruff: venv
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: venv ## mypy, strict
	$(BIN)/mypy

imports: venv
	$(BIN)/lint-imports --no-logo

spelling: venv
	$(BIN)/codespell

shell: venv
	$(BIN)/shellcheck $(wildcard $(SCRIPTS))

yaml: venv
	$(BIN)/yamllint --strict $(wildcard .yamllint.yaml .pre-commit-config.yaml examples)

ansible-lint: ansible ## the collection and its scenarios, by the production profile
	@tools/ansible-lint

format: venv ## let ruff sort imports and lay out the code
	$(BIN)/ruff check --select I,UP --fix
	$(BIN)/ruff format

venv: $(VENV)/stamp ## the tools, pinned, beside Debian's own modules

$(VENV)/stamp: requirements-dev.txt requirements-docs.txt
	@tools/bootstrap test
	$(PYTHON) -m venv --clear --system-site-packages $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt || \
		{ echo 'pip cannot install requirements-dev.txt: is there a network?' >&2; exit 1; }
	touch $@

ansible: $(ANSIBLE)/stamp

$(ANSIBLE)/stamp: requirements-ansible.txt
	@tools/bootstrap test
	$(PYTHON) -m venv --clear $(ANSIBLE)
	$(ANSIBLE)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $< || \
		{ echo 'pip cannot install requirements-ansible.txt: is there a network?' >&2; exit 1; }
	touch $@

clean: ## remove what the other targets made
	rm -rf $(VENV) $(ANSIBLE) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .fuzz
	find hostfw lab tests bench -name __pycache__ -prune -exec rm -r {} +
