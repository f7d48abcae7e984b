.PHONY: test types lint looks

test:
	pytest

lint:
	ruff check .
	ruff format --check .

# The folders map into one package only when installed; a tree of links shows the type checker the same picture.
types:
	rm -rf build/types && mkdir -p build/types/hueglass
	ln -s $(CURDIR)/app/* build/types/hueglass/
	for folder in infer datasets train export configs; do ln -s $(CURDIR)/$$folder build/types/hueglass/$$folder; done
	cd build/types && mypy --config-file $(CURDIR)/pyproject.toml -p hueglass

# After a new model: make looks DATA=folder
looks:
	python -m hueglass.export.looks $(DATA)
