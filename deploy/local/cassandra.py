"""A real one-node Cassandra for one machine."""

import json
import os
from pathlib import Path

from deploy.local.downloads import jars, quiet_workers
from deploy.local.probes import HOST
from deploy.local.process import Process

LOG_CONFIG = Path(__file__).parent / "conf" / "cassandra-logback.xml"

# The packages of JDK 17 that Cassandra 5.0 needs (its own start script has the same list).
EXPORTS = (
    "java.base/java.lang.ref",
    "java.base/jdk.internal.misc",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.management/com.sun.jmx.remote.security",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.unsupported/sun.misc",
)
OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.compiler/com.sun.tools.javac",
    "jdk.management/com.sun.management.internal",
)


def start_cassandra(process: Process, jars_cache: Path, port: int, storage_port: int, heap_mb: int = 1024) -> None:
    """Start the node with its data in `<run dir>/<name>/`. Existing data is kept.

    Returns when the process runs, which is before it is ready (`probes.cassandra_answers`).
    """
    directory = process.log_file.parent / process.name
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "cassandra.yaml"
    # JSON is YAML, so no library is needed to write it.
    config.write_text(json.dumps(_settings(directory, port, storage_port), indent=2))
    jar_directory = jars("cassandra", jars_cache)
    agents = [next(jar_directory.glob("jamm-*.jar")), quiet_workers(jar_directory, jars_cache)]
    java = ["java", *(f"-javaagent:{agent}" for agent in agents if agent is not None)]
    java += [f"-Xmx{heap_mb}m", f"-Xms{heap_mb // 2}m", *_jvm_flags(directory, config)]
    env = {**os.environ, "CLASSPATH": f"{jar_directory}/*"}
    process.start([*java, "org.apache.cassandra.service.CassandraDaemon"], env)


def _jvm_flags(directory: Path, config: Path) -> list[str]:
    properties = {
        "cassandra.config": config.as_uri(),
        "cassandra.storagedir": directory,
        "cassandra.logdir": directory,
        "cassandra-foreground": "yes",
        "cassandra.shutdown_announce_in_ms": 0,
        "cassandra.skip_wait_for_gossip_to_settle": 0,
        "cassandra.initial_token": 0,
        "io.netty.tryReflectionSetAccessible": "true",
        "java.io.tmpdir": directory,  # unpacked libraries remain there after a kill
        "java.net.preferIPv4Stack": "true",
        "jdk.attach.allowAttachSelf": "true",
        "logback.configurationFile": LOG_CONFIG,
    }
    exports = [f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS]
    opens = [f"--add-opens={name}=ALL-UNNAMED" for name in OPENS]
    return [
        "-Xss256k",
        "-XX:+UseSerialGC",  # for a small heap on few cores, where threads of parallel collectors cost more
        "-XX:+ExitOnOutOfMemoryError",
        *exports,
        *opens,
        *(f"-D{key}={value}" for key, value in properties.items()),
    ]


def _settings(directory: Path, port: int, storage_port: int) -> dict[str, object]:
    """The content of cassandra.yaml. The persister needs its batch thresholds and segment size.

    The persister's mutations have up to 512 KiB, in batches up to 1 MiB. The default fail threshold (50 KiB) refuses
    larger batches over several partitions. The largest mutation is half a commit log segment.
    """
    return {
        "cluster_name": "tidings-local",
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "num_tokens": 1,
        "listen_address": HOST,
        "rpc_address": HOST,
        "storage_port": storage_port,
        "native_transport_port": port,
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": f"{HOST}:{storage_port}"}],
            }
        ],
        "data_file_directories": [str(directory / "data")],
        "commitlog_directory": str(directory / "commitlog"),
        "saved_caches_directory": str(directory / "saved_caches"),
        "hints_directory": str(directory / "hints"),
        "cdc_raw_directory": str(directory / "cdc_raw"),
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10000ms",
        "commitlog_segment_size": "16MiB",
        "auto_snapshot": False,
        # Memtable rows are off the heap, so that the garbage collector copies half as much (ADR 20).
        "memtable_allocation_type": "offheap_objects",
        "memtable": {"configurations": {"default": {"class_name": "TrieMemtable"}}},
        "disk_access_mode": "standard",
        "batch_size_warn_threshold": "1MiB",
        "batch_size_fail_threshold": "1MiB",
        "unlogged_batch_across_partitions_warn_threshold": 10000,
    }
