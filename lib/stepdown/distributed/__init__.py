"""The shard engine: work on many samples, in one process or many, that can be killed and goes on; see `engine`."""
