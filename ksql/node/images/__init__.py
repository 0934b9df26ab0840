"""What a simulation knows of images: their entry points, their files, and the programs in them.

Problem. Suites and tours ask of a pod what its image would do: a process that prints its arguments and
exits, a web server that a probe asks, a check of a mounted file's mode. A node that runs nothing has no
layers to take a program from.

Decision. A few well-known images are data (`catalogue`), and the programs that suites run in them are
written as commands of the containers' shell (`agnhost`, `mounting`, `web`): they read and write the
simulated files, listen on the simulated ports, and end with the exit codes of their namesakes. A container
whose command is known is performed (`ksql.node.acting`); any other lives as its `Lifecycle` says.

Rejected: pulling real images and interpreting their binaries (a simulation would need what it is there to
do without); answering by image name what a suite wants to hear (a claim that nothing checks).

Invariants
1. A program says only what follows from its arguments, its files and environment and what it was asked.
2. What is not known is not performed: no image gets a behaviour by guessing.

Words: image (name, entry point, files), program (a command that an image brings), performed (its own
command is run, in the time of the cluster's clock).
"""
