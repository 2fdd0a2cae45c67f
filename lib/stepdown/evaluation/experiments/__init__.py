"""Experiments: one network in many ways, each measured in a process of its own, and a report of all of them."""
