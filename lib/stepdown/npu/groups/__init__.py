"""Groups: runs of ops whose tiles stay in local memory, from one op to the next."""
