"""Where pods run: one agent per node, a worker per pod, and a runtime that starts what the pods say.

Problem. A node must bring its pods to what their specs ask and tell truthfully how far it is, through
restarts of its own process and through partitions, and a hundred simulated nodes with ten thousand pods
must fit in one process on virtual time.

Decision. The pod worker is a state machine without tasks: it is fed pod documents (what is wanted),
reports of the runtime (what happened) and timers (back-offs), and each time says commands to the runtime
and a status to write. The agent around it registers the node and keeps its lease. What the nodes of a
process share lives in the `Fleet`: one watch of all pods, one heap of timers, a bounded number of
writers. The runtime is a protocol with reports, so that a simulated one (lifecycles as data, `simulated`
and `lifecycle`) and a real one differ in nothing but what is behind it.

Rejected: a task per pod and per container (10,000 tasks that mostly sleep cost more than a heap of
timers, and their order of waking would have to be thought about for repeatability); a watch per node
inside one process (a hundred times the same filtering); status patches without a resource version (two
writers of conditions would overwrite each other unseen).

People look inside (`kubelet`, asked through `ksql.conversations`): a simulated container says what a script
says (`output`), runs commands in a small shell over files of its own (`inside`, `shell`, `commands`) and
answers HTTP on its ports (`replies`). All of it is computed when it is asked for, from annotations and
from what the pod's status tells, so pods that nobody looks into cost nothing and a restart forgets nothing
that matters. Rejected: writing output as it happens (a cluster of ten thousand pods would do little else).

A container whose own command the simulation knows (`images`: shells, small tools, the programs that suites
run) is performed from its start (`acting`): its exit code, output and last words are its command's, over
volumes that its pod's containers share (`volumes`, `mounts`), with the variables a kubelet gives (`variables`),
probed and told of start and end (`care`), and reached by other pods through Services and the cluster's
names (`network`). It remains a simulation: no kernel, no binary, no packet; what is not known lives as data.

Invariants
1. At most one write of a pod's status is under way, and each is made on the pod as last seen.
2. What happens at one instant is one write.
3. A container once started is never started again by a restart of the agent: running pods are adopted
   with the state that their status tells.
4. A pod's address is not given to another pod while the pod holds it.
5. A pod asked to end is removed by its node only after its containers have ended, and only that very pod
   (uid precondition).
6. Every write names the revision that provoked it: the binding, the deletion, or the node's own last
   status when the runtime moved by itself.
7. What is done inside a container ends with it, with the caller, or by itself, whichever comes first.

Words: agent (our process on a node), runtime (what starts containers for it), life (one run of one
container), worker (one pod's state machine), report (what the runtime says), lifecycle (what a simulated
container will do), fleet (the nodes of one process).
"""
