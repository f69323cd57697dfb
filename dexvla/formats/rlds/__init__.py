"""RLDS episodes as TensorFlow Datasets stores them, read and written without TensorFlow."""
