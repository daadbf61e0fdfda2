"""The log: lines, tiles, checkpoints; how they are written, repaired, read and verified."""
