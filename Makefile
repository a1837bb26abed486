# `make` alone prints the targets. Each part of the house has its own file of rules in mk/; setup.mk and core.mk come
# first because the others use their variables.
.DEFAULT_GOAL := help
SHELL := /bin/bash

include mk/setup.mk mk/core.mk
include $(filter-out mk/setup.mk mk/core.mk,$(sort $(wildcard mk/*.mk)))

.PHONY: help
help: ## print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  %-16s %s\n", $$1, $$2 }'
