"""Groups in read diffusion: the connected members of each group, and the groups' heads.

`tracker` applies pushes and reads of the tables. `heads` reads the head of each group for its members.
"""
