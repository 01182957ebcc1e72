"""Client library of Tidings."""
