# Everything a user or a developer does, in one word each. The build itself is Meson's (meson.build).
BUILD ?= build
TEST_BUILD ?= build-test
JOBS ?= $(shell nproc)

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j $(JOBS) --quiet

# The program and the ONNX Runtime library that it validates with.
demo: setup all ort
	@tools/demo.sh $(BUILD)

test: setup ort $(TEST_BUILD)/build.ninja
	@ninja -C $(TEST_BUILD) -j $(JOBS) --quiet
	@OPTIMUM_ORT_LIBRARY=$(abspath $(BUILD))/lib tests/run.sh $(TEST_BUILD)

test-all: setup ort
	@OPTIMUM_ORT_LIBRARY=$(abspath $(BUILD))/lib tests/run-all.sh

interop: setup all ort
	@tests/interop/run.sh $(BUILD)

bench: setup all ort
	@tests/bench/run.sh $(BUILD)

ort:
	@tools/fetch-ort.sh $(BUILD)

setup:
	@tools/setup.sh

install: all
	meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-*

$(BUILD)/build.ninja:
	@tools/setup.sh
	@meson setup $(BUILD) >/dev/null

$(TEST_BUILD)/build.ninja:
	@meson setup $(TEST_BUILD) -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false >/dev/null

.PHONY: all demo test test-all interop bench ort setup install clean
