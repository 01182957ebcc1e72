"""`tidings seed`: months of messages for development, appended as a gateway would have done at that time.

`plan` holds what is sent, as a function of a few numbers, so that a test can compute it again and compare. `log_times`
lets the log keep times of the past, and ends that. `seeder` appends a plan and waits for the persister.

It is a part of the command line because it calls the gateway's protocol package: each command is built and
checked by the gateway's own functions. `tidings` must not import services, and services must not import each other.
"""
