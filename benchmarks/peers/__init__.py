"""Other engines, each in a process of its own and in its own environment, run in turns with Secateur.

`registry` lists them; `adapters/` holds a file for each, read by `worker`, which runs in the peer's interpreter and
imports nothing of Secateur; `process` talks to a worker; `contest` runs several in turns and compares outputs.
"""
