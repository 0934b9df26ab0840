"""Storage's life: claims find volumes, volumes are made for claims, and neither goes while it is in use.

Problem: a pod asks for storage by a claim, and the claim must come to exactly one volume and keep it, whatever
crashes half way; with classes that wait for the first consumer, the scheduler has a say in which. Decision:
Kubernetes' own protocol between the loops, through the objects alone. The binder (`binder`, rules in `binding` and
`matching`) ties claims to volumes in four writes, each of which finds the others' work when it is taken up again; a
provisioner (`provisioning`) makes what is asked for and takes back what was let go; the scheduler asks `needs` where
a pod's volumes can be had and lets `scheduling` reserve them; `protection` holds claims, volumes and classes until
nobody uses them; `ephemeral` makes the claims that live as long as their pod.

Rejected: one transaction that binds both ends (nothing but this server could then be the binder, and other
provisioners speak the protocol as it is), and volumes known to the node's agent alone (nobody could list them).

What is behind a volume is a `Provisioner`: a simulated one comes with the server, other names in a class are left to
whoever provides them, as in Kubernetes. Not built: recyclers, attaching (VolumeAttachment) and capacity tracking
(CSIStorageCapacity).

Invariants
1. A volume is bound to one claim at most, a claim to one volume; both ends name each other by uid before it shows.
2. What a claim was bound to it is never bound away from: it is Lost when its volume is.
3. Nothing that a pod on a node uses goes before the pod does.
4. A volume is given back only as its reclaim policy says.

Words: *candidate*, a volume a claim could have; *prebound*, of one end that names the other first; *reach*, from
which nodes a simulated volume can be used.
"""
