"""Where models are kept and served: MLflow and Triton."""
