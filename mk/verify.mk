# The slow checks. Every part adds targets verify-SOMETHING in its own file; this one collects them.

VERIFY := $(shell sed -n '/^[a-z]/s/:.*//p' mk/*.mk | tr ' ' '\n' | grep '^verify-' | sort -u)

.PHONY: verify
verify: ## the slow checks: sanitizers, models, mutants, lint
	@failed=; for part in $(VERIFY); do \
	    printf '\n==== %s ====\n' "$$part"; \
	    $(MAKE) --no-print-directory $$part || failed="$$failed $$part"; \
	done; \
	if [ -n "$$failed" ]; then echo; echo "failed:$$failed"; exit 1; fi; \
	echo; echo "passed: $(VERIFY)"
