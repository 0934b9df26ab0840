"""Every measurement, one after another, each in a process of its own: `python -m tests.bench [NAME ...]`.

Nothing here passes or fails. Figures and what they mean are kept in README.md beside this file.
"""

import subprocess
import sys

# name: module and arguments. In the order of the house: the log first, the whole cluster last.
MEASUREMENTS = {
    "log": ("tests.bench.log", "--rounds", "4", "--seconds", "3"),
    "encryption": ("tests.bench.encryption",),
    "past": ("tests.bench.past",),
    "seals": ("tests.bench.seals",),
    "http": ("tests.bench.http",),
    "graphql": ("tests.bench.gql",),
    "following": ("tests.bench.following",),
    "start": ("tests.bench.start",),
    "permissions": ("tests.bench.permissions",),
    "scheduling": ("tests.bench.scheduling",),
    "cluster": ("tests.bench.cluster",),
}


def main() -> None:
    wanted = sys.argv[1:] or list(MEASUREMENTS)
    unknown = [name for name in wanted if name not in MEASUREMENTS]
    if unknown:
        sys.exit(f"no measurement {unknown[0]!r}: there are {', '.join(MEASUREMENTS)}")
    for name in wanted:
        module, *arguments = MEASUREMENTS[name]
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", module, *arguments], check=True)


if __name__ == "__main__":
    main()
