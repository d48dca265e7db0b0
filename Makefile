# SPDX-License-Identifier: BSD-3-Clause
#
# Every target is one call of the command line or of npm; `npx zufs-lab --help` shows what else there is.
# LAB passes options on: make lab LAB="--runtime host --set vm.cpus=4"

LAB ?=
ZUFS_LAB = npx --no-install zufs-lab $(LAB)

.PHONY: help lab test unit check kernel image up down xfstests bench clean

help: ## show this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# npm ci brings Node 26 itself (package `node`): the machine's own Node only runs npm.
node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $@

# make makes one exit code of every failure, so the last line says which it was.
lab: node_modules/.package-lock.json ## kernel, image, VM, server, xfstests: from nothing to a verdict
	@$(ZUFS_LAB) run; code=$$?; case $$code in \
	0) ;; \
	1) echo "make lab: a test failed (exit code 1)" ;; \
	130) echo "make lab: interrupted (exit code 130)" ;; \
	*) echo "make lab: the lab is broken, so there is no verdict (exit code $$code)" ;; \
	esac; exit $$code

test: node_modules/.package-lock.json ## lint, types, unit tests and the integration tests in the VM
	@npm run --silent check
	@npx --no-install vitest run

unit: node_modules/.package-lock.json ## only the unit tests: seconds, no VM
	@npm run --silent test:unit

check: node_modules/.package-lock.json ## lint, format and types
	@npm run --silent check

kernel image: node_modules/.package-lock.json ## build the kernel; build the guest image
	@$(ZUFS_LAB) $@ build

up down: node_modules/.package-lock.json ## boot the VM and mount; end it
	@$(ZUFS_LAB) $@

xfstests: node_modules/.package-lock.json ## xfstests in the running lab
	@$(ZUFS_LAB) xfstests

bench: node_modules/.package-lock.json ## file systems measured beside each other: tables, plots, one page
	@$(ZUFS_LAB) bench

clean: ## remove what was built in the checkout (the cache stays: npx zufs-lab cache clean)
	rm -rf build
