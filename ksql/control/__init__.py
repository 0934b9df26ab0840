"""What should happen next: informers, work queues, controllers, reconcilers, the scheduler.

**Problem.** Many small programs bring the cluster from what is to what is wanted, each looking at some
objects and writing others, at once, over caches that lag, through writes that are refused, across restarts.

**Decision.** Kubernetes' own design, level-based: an informer keeps a cache of one resource, its handlers
mark keys, a work queue hands each key to one worker at a time, and the reconciler thinks afresh from what
the caches show. Thinking is a pure function from what is observed to a `Plan`, a value; the controller
executes it. What the key was marked by only attributes the writes (their `cause`).

**Rejected.** Reconcilers fed by the events themselves (edge-triggered): start-up, failover and a lost message
would each need code of their own. Expectations as client-go counts them: since every write answers with
its revision, waiting until the caches have come to it does the same without bookkeeping (`controller.py`).
Reconcilers that write while they think: nobody could state their laws.

**Invariants.**
1. `plan` neither waits nor writes nor asks for time or chance; executing a plan and planning again yields
   nothing, so a settled cluster writes nothing.
2. A key is never worked on twice at once, and not again before the caches show its last writes.
3. Every write has a cause: the oldest revision among the weightiest that marked its key; for timed work the
   revision that set the timer.
4. A key that fails backs off alone; a controller that dies is started anew alone.
5. Reconcilers import each other never, and the server wing never; they know the cluster through `Client`.
6. No work is quadratic in the size of a workload: reads go through indexes, and the rounds that many
   dependents provoke are gathered (`damping.py`).

**Words.** informer, work queue, trigger, plan, burst, remark (what is to be said with a change), reconciler.

**Order of reading.** trigger, informer, queue, plan, controller; then any reconciler: replicaset, deployment,
endpointslice, garbage, namespace; at last leadership (which server does what) and supervisor, which starts them all.
"""
