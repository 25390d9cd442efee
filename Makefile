# The two commands are `make demo` and `make test`; the rest serves them.
.PHONY: demo test lint bench toolchain

# nvcc from PyPI into .cuda/, unless a CUDA installation is found (272 MB, once).
toolchain:
	@sh data/toolchain.sh

test: toolchain
	cargo test --workspace --release
	python3 data/test_demo_corpus.py

lint: toolchain
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --release -- -D warnings

bench: toolchain
	cargo bench --workspace

demo: toolchain
	@sh data/demo.sh
