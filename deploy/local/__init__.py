"""The local stack: real Kafka, real Cassandra and our services on 127.0.0.1, without containers.

`Stack` (stack.py) starts, kills, pauses and brings back each process by name; the command line
(`python -m deploy.local up|down|run|status`) and the tests are written with it. Everything it writes
lives under one run directory: `<name>.pid`, `<name>.log`, `<name>/` with the data, `stack.json` with the ports.
"""
