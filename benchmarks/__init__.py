"""What the whole chain does on this machine, against the bare parts in the same run. See README.md."""
