"""Jets of top-quark pairs, assigned by machine learning."""
