"""Sites that may not share faces: what leaves a site, what the coordinator makes of it, and what a site does with that.

`terms`, `features`, `heads` and `rounds` are plain functions, numpy in and out; `messages` is all that may travel;
`simulate` runs many sites on one machine; `server`, `client` and `keys` carry the same messages between machines.
"""
