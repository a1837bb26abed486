# `make` alone prints the targets. Each part of the house has its own file of rules in mk/.
.DEFAULT_GOAL := help
SHELL := /bin/bash

include $(sort $(wildcard mk/*.mk))

.PHONY: help
help: ## print the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  %-16s %s\n", $$1, $$2 }'
