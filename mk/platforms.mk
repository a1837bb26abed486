# The C core on platforms other than this machine's; docs/platforms.md has what came of it. The toolchain files are in
# cmake/toolchains.

# On 32-bit x86 with 64-bit times: other sizes, other alignments, and system calls of their own.
.PHONY: verify-core-i386
verify-core-i386: ## the C core's tests as 32-bit x86, under UndefinedBehaviorSanitizer
	@CFLAGS='-D_TIME_BITS=64 -D_FILE_OFFSET_BITS=64' \
	    tools/core-on i386 'Linux i386, glibc' 'C tests, UndefinedBehaviorSanitizer' SANITIZE=undefined

# Under qemu-user a thread of the tests is a thread of this machine, whose memory is in stronger order than that of these
# processors: what is missing in the core's memory order does not show there. Sizes, byte order and alignment do.
.PHONY: verify-core-arm64 verify-core-riscv64 verify-core-s390x
verify-core-arm64 verify-core-riscv64 verify-core-s390x: export WG_TEST_EFFORT := 0.1
verify-core-arm64: ## the C core's tests on 64-bit ARM, under qemu-user
	@tools/core-on arm64 'Linux arm64, glibc' 'C tests, qemu-user'

verify-core-riscv64: ## the C core's tests on 64-bit RISC-V, under qemu-user
	@tools/core-on riscv64 'Linux riscv64, glibc' 'C tests, qemu-user'

verify-core-s390x: ## the C core's tests on IBM Z, which is big-endian, under qemu-user
	@tools/core-on s390x 'Linux s390x (big-endian), glibc' 'C tests, qemu-user'

# With musl: smaller stacks, another dynamic linker, threads that end without an unwinder.
.PHONY: verify-core-musl verify-core-musl-static
verify-core-musl: ## the C core's tests with musl
	@tools/core-on musl 'Linux x86-64, musl' 'C tests'

verify-core-musl-static: ## the same in static programs
	@tools/core-on musl-static 'Linux x86-64, musl' 'C tests, static programs'

# Compiled only: nothing here can run it.
.PHONY: verify-core-macos
verify-core-macos: | $(VENV)/.ready-platforms ## the C core compiles for macOS, with the portable ways of sleeping and signalling
	@tools/core-compiles x86_64-macos 'macOS x86-64'
	@tools/core-compiles aarch64-macos 'macOS arm64'
