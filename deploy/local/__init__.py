"""The local stack: real Kafka, real Cassandra and our services on 127.0.0.1, without containers.

`Stack` (stack.py) starts, kills, pauses and restarts each process by name. The command line
(`python -m deploy.local up|down|run|status`) and the tests use it. All of its files are in one run directory:
`<name>.pid`, `<name>.log`, `<name>/` with the data, and `stack.json` with the ports.
"""
