"""Transfer to other tasks: the parts of :mod:`train.finetune`."""
