# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# The front door. Each target makes what is missing, once, under ~/.cache/spider-pair (README.md says more).
#
#   make run-pair [FUNCTION=none|epf-test|vntb] [NET=1] [ARGS='…']   boot both guests, a shell on the RC
#   make test [ARGS='epf.* --junit out.xml …']          unit tests, then the boot-and-transfer suite in KTAP
#   make gdb-ep, make gdb-rc [ARGS='-batch -ex bt']     gdb on a running guest (run it with KERNEL_VARIANT=gdb)
#   make bench                                          the figures, as ratios within one run
#   make bench-vntb                                     ping over the stock vNTB, doorbell polled and embedded
#   make bench-dma                                      a delegated channel against the CPU and the EP's own
#   make lint                                           rustfmt and clippy, the kernel modules too; the oldest toolchain

FUNCTION ?= epf-test
CARGO ?= cargo
PAIR := $(CARGO) run --quiet --release --package pair --

.PHONY: run-pair test unit-test suite gdb-ep gdb-rc bench bench-vntb bench-dma lint clean

# The device is a program of its own, and QEMU loads a library; the runner finds both beside itself.
define build
$(CARGO) build --release --package pair --package qemu-device --package qemu-plugin
endef

run-pair:
	@$(build)
	@$(PAIR) run --function $(FUNCTION) $(if $(filter-out 0,$(NET)),--net) $(ARGS)

test: unit-test suite

# Not --release: overflow checks and debug assertions are part of what is tested.
unit-test:
	$(CARGO) test --workspace
	$(CARGO) test --manifest-path guest-common/agent/Cargo.toml

suite:
	@$(build)
	@$(PAIR) test $(ARGS)

gdb-ep gdb-rc: gdb-%:
	@$(PAIR) gdb $* $(ARGS)

bench:
	$(CARGO) bench --package qemu-device --bench vfio_user
	$(CARGO) bench --package qemu-device --bench edma
	ci/bench/pair.sh
	ci/bench/posted.sh
	ci/bench/windows.sh

bench-vntb:
	ci/bench/vntb.sh

bench-dma:
	ci/bench/dma.sh

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	ci/lint-oldest.sh
	ci/lint-modules.sh

clean:
	$(CARGO) clean
	rm -rf runs
