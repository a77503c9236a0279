"""The callables for `Dataset.map` that let a model write new columns."""
