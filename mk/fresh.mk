# The two commands of README on machines that have nothing but make and git.

.PHONY: verify-fresh-machine
verify-fresh-machine: ## make demo and make test on fresh Debian 12 and 13: users, paths, homes, locales, under load
	@tools/fresh-machine
