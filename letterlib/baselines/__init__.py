"""The conventional recommenders, from popularity to transformers."""
