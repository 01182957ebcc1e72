"""Where one message is: each stage with its time and place, and where that fact comes from.

reads      the tables; offsets, marks and single records of the topics; an object if the message is archived
writes     nothing
bounds     pages, rows, members and waits; a server that does not answer makes its facts unknown
"""
