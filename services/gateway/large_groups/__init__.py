"""Groups in read diffusion: which connected users are their members, and how far the groups have come.

`tracker` is fed by pushes and by reads of the tables; `heads` reads how far each group has come for its members.
"""
