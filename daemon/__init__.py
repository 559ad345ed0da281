"""The service of `vdub serve`: it owns workers with models in memory and renders for host applications.

One process talks to clients and never waits for anything (`service`); workers decode, render and encode
(`worker`, `work`); jobs lie in SQLite (`store`), finished frames in files named by what their pixels depend
on (`frame_cache`). The messages between client and service are `visualdub.wire.schema`, those between service
and workers `messages`. Whatever wants to show the service, such as a page, is a client of it.
"""
