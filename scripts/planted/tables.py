"""All bugs, in the order of the runs."""

from scripts.planted import delivering, simulated, storing

BUGS = (*simulated.BUGS, *storing.BUGS, *delivering.BUGS)
