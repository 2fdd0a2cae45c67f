"""Reading and writing files: npz with metadata, atomic writes, hashes. Nothing here unpickles."""
