"""All bugs, in the order of the runs."""

from scripts.planted import admitting, archiving, delivering, media, running, simulated, storing

BUGS = (*admitting.BUGS, *simulated.BUGS, *running.BUGS, *storing.BUGS, *delivering.BUGS, *media.BUGS, *archiving.BUGS)
