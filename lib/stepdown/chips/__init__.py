"""What a machine has: one TOML a chip, every number with its source. Passes ask for facts, never for a name."""

from stepdown.chips.chip import Chip, chip_names, load_chip, parse_chip

__all__ = ["Chip", "chip_names", "load_chip", "parse_chip"]
