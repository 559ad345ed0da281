"""The page of the service: jobs, and each shot to be looked at, listened to, corrected and approved.

It is a client of the service in a process of its own (`server`), so that whatever happens to it or is asked
of it, jobs go on. A browser on the same machine is all it talks to (`guard`). What is known of a shot before
and while it is drawn is noted by the worker (`facts`); the page draws flags from it (`flags`).
"""
