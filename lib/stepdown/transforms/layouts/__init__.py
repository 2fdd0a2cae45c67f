"""Choosing how every tensor is stored, channels first or last, and rewriting a program by the choice."""
