"""TFLite models: reading the flatbuffer, import into the TOP dialect."""
