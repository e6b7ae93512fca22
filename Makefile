# Two commands are all the set-up there is: `make demo` and `make test`.
.PHONY: help demo demo-down test check bench wheel clean

help:
	@echo "make demo       a real cluster of three nodes on this machine, with a web service on it"
	@echo "make demo-down  stop it, and remove all that it made"
	@echo "make test       checks and all tests, those on a real engine included"
	@echo "make check      formatting, types and floors alone"
	@echo "make bench      figures: start of containers, API, store, footprint"
	@echo "make wheel      build dist/longshore-*.whl"
	@echo "make clean      remove everything that the above made"

demo:
	@scripts/venv
	@scripts/demo up

demo-down:
	@scripts/demo down

check:
	@scripts/venv dev
	@scripts/check

test:
	@scripts/venv dev
	@scripts/check
	@scripts/test

bench:
	@scripts/venv dev
	@scripts/with-engine .venv/bin/python -m bench

wheel:
	@scripts/venv
	@.venv/bin/python -m pip -q wheel --no-deps --wheel-dir dist .

clean: demo-down
	@rm -rf .venv .state dist
