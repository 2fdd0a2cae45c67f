"""Measuring classifiers on labelled samples: exact counts that can be merged, and the reports made of them."""
