"""One file per engine, read by `worker.py` in the interpreter of that engine: nothing here is imported by Secateur."""
