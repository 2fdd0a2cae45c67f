"""Stepdown ports trained networks to hardware in small steps that can each be checked."""

__version__ = "0.1.0"
