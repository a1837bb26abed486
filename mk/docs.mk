# The API reference, by the usual tool of each language, in build/docs.

.PHONY: docs docs-c docs-python docs-lua
docs: docs-c docs-python docs-lua ## write the API reference to build/docs
	@echo "Written: build/docs/c/index.html build/docs/python/index.html build/docs/lua/index.html"

docs-c: | system-docs
	@rm -rf build/docs/c && mkdir -p build/docs
	doxygen docs/Doxyfile

docs-python: python $(PY_READY_DOCS)
	@rm -rf build/docs/python
	$(PYTHON) -m pdoc --no-show-source --output-directory build/docs/python cwaitgroup

docs-lua: | system-docs
	@rm -rf build/docs/lua build/docs/annotations && mkdir -p build/docs/annotations
	@$(LUA) docs/luacats.lua <library/waitgroup.lua >build/docs/annotations/waitgroup.lua
	ldoc --config docs/config.ld --fatalwarnings .

.PHONY: verify-docs
verify-docs: docs
