"""What simulated containers use, by their annotations."""

import pytest

from ksql.conversations import Usage
from ksql.node.usage import CPU_MIN_NANO, MEMORY_MIN, is_shared, usage_of

MIB = 1024 * 1024


def used(cpu=None, memory=None, *, age=0.0, sharers=1, requests=None, suffix=""):
    given = {"cpu": cpu, "memory": memory}
    annotations = {f"simulation.ksql.dev/{key}{suffix}": text for key, text in given.items() if text is not None}
    pod = {"metadata": {"annotations": annotations}}
    said = []
    found = usage_of(pod, {"name": "c", "resources": {"requests": requests or {}}}, age, sharers, said.append)
    return found, said


def test_without_a_word_a_part_of_the_request_is_used():
    assert used()[0] == Usage(CPU_MIN_NANO, MEMORY_MIN)
    assert used(requests={"cpu": "2", "memory": "1Gi"})[0] == Usage(200_000_000, 512 * MIB)


@pytest.mark.parametrize(
    ("text", "age", "milli"),
    [
        ("250m", 0, 250), ("250m", 1e9, 250),
        ("100m..500m/600s", 0, 100), ("100m..500m/600s", 300, 500), ("100m..500m/600s", 600, 100),
        ("100m..500m/600s", 150, 300),
        ("100m, 60s:400m, 300s:50m", 59, 100), ("100m, 60s:400m, 300s:50m", 60, 400),
        ("100m, 60s:400m, 300s:50m", 301, 50),
    ],
)  # fmt: skip
def test_values_waves_and_steps(text, age, milli):
    found, said = used(cpu=text, age=age)
    assert (found.cpu_nano, said) == (milli * 10**6, [])


def test_a_shared_load_is_parted():
    assert used(cpu="900m shared", sharers=3)[0].cpu_nano == 300 * 10**6
    pod = {"metadata": {"annotations": {"simulation.ksql.dev/cpu.web": "1 shared"}}}
    assert is_shared(pod, "web") and not is_shared(pod, "other")


def test_a_container_of_its_own_is_meant_by_its_name():
    assert used(cpu="2", suffix=".c")[0].cpu_nano == 2 * 10**9
    assert used(cpu="2", suffix=".other")[0].cpu_nano == CPU_MIN_NANO


@pytest.mark.parametrize("text", ["much", "1..", "1..2/0s", "1, 2", "-1", "1, 60s:x", "shared"])
def test_what_cannot_be_read_is_told_and_the_default_taken(text):
    found, said = used(cpu=text)
    assert found.cpu_nano == CPU_MIN_NANO
    assert len(said) == 1 and said[0].startswith("simulation.ksql.dev/cpu: ")
