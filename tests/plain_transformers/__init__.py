"""Saved language models in the hands of other releases of transformers, in environments without this project: `make test-transformers`."""
