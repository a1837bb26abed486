# `make` alone prints the targets. Each part of the house has its own file of rules in mk/; setup.mk comes first because
# the others use its variables.
.DEFAULT_GOAL := help
SHELL := /bin/bash

include mk/setup.mk
include $(filter-out mk/setup.mk,$(sort $(wildcard mk/*.mk)))

.PHONY: help
help: ## print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  %-16s %s\n", $$1, $$2 }'
