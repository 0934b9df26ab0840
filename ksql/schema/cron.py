"""What is wrong with a schedule in cron's notation, in the words of the library that kube-apiserver asks."""

import re

_MACROS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def complaint(schedule: str) -> str:
    """The fault of a schedule; empty when there is none. A zone before it is read over."""
    text = schedule
    if text.startswith(("TZ=", "CRON_TZ=")):
        text = text.partition(" ")[2]
    if text.startswith("@"):
        known = text in _MACROS or re.fullmatch(r"@every ([0-9]+(\.[0-9]+)?(h|m|s|ms|us|ns))+", text)
        return "" if known else f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    for field, (low, high), words in zip(fields, _RANGES, ((), (), (), _MONTHS, _DAYS), strict=True):
        if fault := _field_fault(field, low, high, words):
            return fault
    return ""


def _field_fault(field: str, low: int, high: int, words: tuple[str, ...]) -> str:
    """What is wrong with one field of a schedule, as the cron library says it."""
    for part in field.split(","):
        span, _, step = part.partition("/")
        if step and not step.isdecimal():
            return f'failed to parse int from {step}: strconv.Atoi: parsing "{step}": invalid syntax'
        if step and int(step) == 0:
            return f"step of range should be a positive number: {part}"
        if span in ("*", "?"):
            continue
        ends = []
        for end in span.split("-", 1):
            if end.lower() in words:
                ends.append(words.index(end.lower()) + low)
            elif end.isdecimal():
                ends.append(int(end))
            else:
                return f'failed to parse int from {end}: strconv.Atoi: parsing "{end}": invalid syntax'
        if ends[0] < low:
            return f"beginning of range ({ends[0]}) below minimum ({low}): {part}"
        if ends[-1] > high:
            return f"end of range ({ends[-1]}) above maximum ({high}): {part}"
        if ends[0] > ends[-1]:
            return f"beginning of range ({ends[0]}) beyond end of range ({ends[-1]}): {part}"
    return ""
