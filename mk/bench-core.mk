# The C library beside its peers: Go, nsync, oneTBB, std::latch, libuv, GLib, raw threads and futexes.
BENCH_CORE_CXX := $(wildcard bench/core/*.cpp)
BENCH_CORE_OBJECTS := $(BENCH_CORE_CXX:bench/core/%.cpp=build/bench/core/%.o)
BENCH_CORE_LIBS := -lbenchmark_main -lbenchmark -lnsync_cpp -ltbb -luv -lglib-2.0
BENCH_GLIB = $$(pkg-config --cflags glib-2.0)

.PHONY: bench-core
bench-core: build/bench/core/run | $(PYTHON) bench-quiet ## the C library beside its peers in C++ and Go (BENCH_QUICK=1: in a minute)
	-@tools/system-packages bench-go
	@$(PYTHON) bench/core/run.py $< bench/core/go build/bench/core.json

build/bench/core/%.o: bench/core/%.cpp bench/core/bench.h $(CORE_HEADERS) mk/bench-core.mk | system-bench-core
	@mkdir -p $(@D)
	$(call say,bench,$@)
	$(Q)$(CXX) -std=c++20 -O2 -Wall -Wextra -pthread -Icore/include $(BENCH_GLIB) $(CXXFLAGS) -c -o $@ $<

build/bench/core/run: $(BENCH_CORE_OBJECTS) $(CORE_A)
	$(call say,bench,$@)
	$(Q)$(CXX) -pthread -o $@ $^ $(BENCH_CORE_LIBS) $(LDFLAGS)
