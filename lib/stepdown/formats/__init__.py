"""Foreign model formats: a loader each, and tables that map their ops to TOP ops."""
