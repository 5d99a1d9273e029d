# The words that people type first. Each calls what there is.
.PHONY: help install uninstall packages test test-unit lint demo

help:
	@printf '%s\n' 'make install | uninstall | packages | test | test-unit | lint | demo'
install:
	./install.sh
uninstall:
	./uninstall.sh
packages:
	packaging/build build/packages
test:
	tests/run
test-unit:
	tests/run --unit
lint:
	tests/run --unit tests/test_project.py -k 'ruff or mypy or shellcheck or systemd'
demo:
	bin/livekeep-demo
