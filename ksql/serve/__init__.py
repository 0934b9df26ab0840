"""How it is spoken to: HTTP in, the pipeline's answers out as the bytes Kubernetes' clients expect.

The problem: clients compare bytes, headers and words, and half the load of a control plane is lists and
watches of objects that did not change. The decision: this room holds no logic of the cluster. It turns a
path, a query and a body into a `Request`, hands it to the pipeline and prints what comes back, where it
can from bytes that were encoded once when the object was written. The paths of resources are routed in
plain ASGI (`rest`), everything rare by Starlette (`app`); GraphQL is a mounted app of its own behind the
same authentication. Rejected: a framework's request and response objects on the hot path (1.3 to 1.8
times slower), a queue per watcher (2 to 8 times), servers that hold back a watch's headers until its first
frame (clients hang).

Two things are not the cluster's own documents. Conversations with containers (`streams`: logs, exec, attach,
port-forward, proxies) are led to the node that runs the pod, over whatever the client speaks: chunks,
WebSockets, SPDY. Aggregated APIs (`aggregation`) are handed on to the servers that answer them. What the
server itself keeps in the cluster (flow schemas, APIServices) is written by `upkeep`, through the pipeline.

Invariants
1. What a caller sees of a failure is a Status; traces stay in the server's own lines, under the id told
   to the caller.
2. Nothing is written but through the pipeline, and nothing is read past authentication except the health
   checks and the version.
3. Every answer names its correlation, the id under which the log keeps what the request did.
4. A watch's headers go out before its first frame exists.
5. A reader that stops reading is closed within a named time (hours for a conversation, whose reader may be
   a person); it costs one batch of memory at most.
6. Every parameter is obeyed or refused, never silently dropped.
7. A conversation ends on both sides when either ends; neither side's haste fills the other's memory.
8. Nobody's proof of identity is handed on: other servers believe our certificate, and the name we tell.

Words: exchange (a request and its answer), target (what a path means), form (how an object is shown:
itself, its metadata alone, a table), pace (how often a busy watch is flushed).
"""
