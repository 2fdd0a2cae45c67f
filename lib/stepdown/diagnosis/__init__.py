"""Where a lowered network loses accuracy, why, and what to do about it."""
