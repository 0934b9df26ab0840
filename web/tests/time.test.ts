import { expect, test } from "vitest";
import { parseEnd, span } from "../src/model/time";

const NOW = Date.parse("2026-11-25T12:00:00Z");

test("a range's end is an instant, or so long ago", () => {
  expect(parseEnd("now", NOW)).toBe(NOW);
  expect(parseEnd("now-1h", NOW)).toBe(NOW - 3_600_000);
  expect(parseEnd("now-1d2h30m", NOW)).toBe(NOW - 95_400_000);
  expect(parseEnd("2026-11-25T11:00:00Z", NOW)).toBe(NOW - 3_600_000);
  expect(parseEnd("yesterday-ish", NOW)).toBeUndefined();
});

test("how long is told in the two largest units", () => {
  expect([40, 1500, 65_000, 3_700_000, 90_000_000].map(span)).toEqual(["40 ms", "2 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
});
