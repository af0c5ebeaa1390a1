"""How good predictions are: metrics, intervals by patient, paired tests, figures."""
