"""Transfer to other tasks: a new head on a PANN, frozen or trained with it, scored on folds."""
