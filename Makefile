# Thin: each line calls setup/install, CMake, CTest or a script. Everything can be run again and does only what is missing.
#
#   make demo [MODEL=file.pth]   set up, build, compare PyTorch with every engine this machine can run
#   make test                    set up, build everything, run the tests
#   make bench                   benchmarks of ferry's own stages
#   make dist                    dist/ferry-VERSION-linux-x86_64.tar.gz, runs without the packages it was built with
#   make format | tidy | clean
#
#   FERRY_DEPS_DIR   where setup/install puts wheels and headers; default .deps
SHELL := bash
MODEL ?= resnet101
BUILD ?= build
export FERRY_DEPS_DIR ?= $(CURDIR)/.deps
configure = cmake --preset release -B $(BUILD) -DFERRY_DEPS_DIR="$(FERRY_DEPS_DIR)" --log-level=NOTICE
sources = $(shell git ls-files --cached --others --exclude-standard '*.cc' '*.h')

.PHONY: demo test bench dist format tidy clean setup setup-dist setup-tests programs all

demo: programs
	@setup/demo $(BUILD)/bin/ferry "$(MODEL)"

test: all
	@ctest --test-dir $(BUILD) -j "$$(($$(nproc) + 1))" --output-on-failure --no-tests=error $(if $(wildcard /dev/nvidiactl),,-LE gpu)

bench: all
	@bench/run $(BUILD)

dist: setup-dist
	@$(configure) -DFERRY_CUDA_ARCHITECTURES="75-real;80-real;86-real;89-real;90-real;120"
	@cmake --build $(BUILD) --target ferry_programs ferry
	@setup/dist $(BUILD)

format:
	@clang-format-14 -i $(sources)

tidy: all
	@.ci/tidy $(BUILD)

clean:
	@rm -rf $(BUILD) build-sanitize build-fuzz dist

setup:
	@setup/install

setup-dist:
	@setup/install --dist

setup-tests:
	@setup/install --tests

programs: setup
	@$(configure)
	@cmake --build $(BUILD) --target ferry_programs

all: setup-tests
	@$(configure)
	@cmake --build $(BUILD)
