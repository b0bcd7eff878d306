"""A checkpoint put to another task: what :mod:`train.finetune` is made of."""
