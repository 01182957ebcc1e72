"""All bugs, in the order in which they are tried."""

from scripts.planted import delivering, simulated, storing

BUGS = (*simulated.BUGS, *storing.BUGS, *delivering.BUGS)
