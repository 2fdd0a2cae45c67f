"""What the values of every tensor look like over a set of samples, and the ranges to quantise them with."""
