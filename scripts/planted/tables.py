"""All bugs, in the order of the runs."""

from scripts.planted import delivering, running, simulated, storing

BUGS = (*simulated.BUGS, *running.BUGS, *storing.BUGS, *delivering.BUGS)
