"""From few labels to a classifier: tasks, splits, training, evaluation, comparison of initialisations."""
