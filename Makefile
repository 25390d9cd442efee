# The two commands are `make demo` and `make test`; the rest serves them.
.PHONY: demo test lint bench fuzz mutants paper toolchain

# nvcc from PyPI into .cuda/, unless a CUDA installation is found (105 MB, once).
toolchain:
	@sh data/toolchain.sh

test: toolchain
	cargo test --workspace --release
	python3 data/test_demo_corpus.py
	python3 data/test_translation_corpora.py

lint: toolchain
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --release -- -D warnings

bench: toolchain
	cargo bench --workspace

# Mutated PTX, images and command lines for softgpu, longer than in `make test`: `make fuzz SECONDS=3600`.
SECONDS ?= 600
fuzz:
	OMEGA_FUZZ_SECONDS=$(SECONDS) cargo test --release -p softgpu --bin softgpu --test fuzz mutated -- --nocapture

# Breaks what docs/mutations.md lists, one thing at a time; a test must fail each time. `make mutants ONLY=blas`.
mutants: toolchain
	@sh tests/mutants/run.sh $(ONLY)

# The papers' claims in miniature, into docs/paper/; goes on where it stopped. `make paper TEXT=DIR` takes Multi30k's files,
# as does `make paper` where data/multi30k is (OMEGA_DEMO=multi30k make demo).
TEXT ?= $(or $(wildcard data/multi30k),data/demo)
paper: toolchain
	cargo build --release
	cargo run --release --example paper -- --text $(TEXT)

demo: toolchain
	@sh data/demo.sh
