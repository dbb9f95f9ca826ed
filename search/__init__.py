"""Which constants next, and which do we recommend? The Optuna study over the triangle of shares."""
