# The API reference, by the usual tool of each language, in build/docs.

.PHONY: docs docs-c docs-python docs-lua
docs: docs-c docs-python docs-lua ## write the API reference to build/docs

docs-c: | system-docs
	@rm -rf build/docs/c && mkdir -p build/docs
	doxygen docs/Doxyfile
