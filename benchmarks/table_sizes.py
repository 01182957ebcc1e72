"""Flushes and compacts a table of the local stack, and reads its size on disk."""

import os
import re
import subprocess

from deploy.local.cassandra import EXPORTS, OPENS
from deploy.local.downloads import jars
from deploy.local.stack import Stack

# In the stack's block, above its other ports (deploy/local/ports.py).
_JMX_ABOVE_RECEIPTS = 6
_TABLE = ("tidings", "messages")


class TableSizes:
    """Cassandra's own nodetool, over a management port that is opened in the running process."""

    def __init__(self, stack: Stack) -> None:
        """Open the port, on 127.0.0.1 only."""
        self._port = stack.ports.receipts_admin + _JMX_ABOVE_RECEIPTS
        self._jars = jars("cassandra", stack.jars_cache)
        self._home = stack.run_dir
        settings = {"port": self._port, "host": "127.0.0.1", "authenticate": "false", "ssl": "false"}
        given = [f"jmxremote.{name}={value}" for name, value in settings.items()]
        _output(["jcmd", str(stack.process("cassandra-0").pid()), "ManagementAgent.start", *given])

    def compacted_bytes(self) -> int:
        """The bytes of the messages after a flush and a compaction into one file."""
        self._tool("flush", *_TABLE)
        self._tool("compact", *_TABLE)
        text = self._tool("tablestats", ".".join(_TABLE))
        found = re.search(r"Space used \(live\): (\d+)", text)
        if found is None:
            raise RuntimeError(f"nodetool tablestats has no size:\n{text}")
        return int(found[1])

    def _tool(self, *words: str) -> str:
        exports = [f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS]
        opens = [f"--add-opens={name}=ALL-UNNAMED" for name in OPENS]
        # It writes its history below user.home.
        java = ["java", "-Xmx64m", f"-Duser.home={self._home}", *exports, *opens, "org.apache.cassandra.tools.NodeTool"]
        return _output([*java, "-h", "127.0.0.1", "-p", str(self._port), *words], {"CLASSPATH": f"{self._jars}/*"})


def _output(command: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} {command[-1]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
