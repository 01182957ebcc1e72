"""All bugs, in the order of the runs."""

from scripts.planted import admitting, delivering, running, simulated, storing

BUGS = (*admitting.BUGS, *simulated.BUGS, *running.BUGS, *storing.BUGS, *delivering.BUGS)
