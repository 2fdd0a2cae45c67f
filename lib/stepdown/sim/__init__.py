"""The machine that a model file is for: memories, engines, what commands do and how long they take.

It reads commands alone, never the network that they were made from, so a mistake of tiling or placing cannot hide.
"""

from stepdown.sim.machine import Machine
from stepdown.sim.memory import Memory
from stepdown.sim.program import Program, load, load_stage
from stepdown.sim.timeline import Event, timeline

__all__ = ["Event", "Machine", "Memory", "Program", "load", "load_stage", "timeline"]
