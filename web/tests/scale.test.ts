import { describe, expect, test } from "vitest";
import { gapsOf, Scale, SEAM_PX, ticks } from "../src/model/scale";

const HOUR = 3_600_000;

describe("the scale", () => {
  test("spans the width from its beginning to its end", () => {
    const scale = new Scale(1000, 3000, 400);
    expect([scale.x(1000), scale.x(2000), scale.x(3000)]).toEqual([0, 200, 400]);
  });

  test("goes back from pixels to the instants they came from, folded or not", () => {
    const scale = new Scale(0, 10 * HOUR, 1000, [{ start: HOUR, end: 8 * HOUR }]);
    for (let time = 0; time <= 10 * HOUR; time += HOUR / 7) expect(Math.abs(scale.time(scale.x(time)) - time)).toBeLessThan(1);
  });

  test("folds a quiet stretch into a seam and gives its room to the rest", () => {
    const scale = new Scale(0, 10 * HOUR, 1000, [{ start: HOUR, end: 9 * HOUR }]);
    expect(scale.x(9 * HOUR) - scale.x(HOUR)).toBeCloseTo(SEAM_PX);
    expect(scale.x(HOUR)).toBeCloseTo((1000 - SEAM_PX) / 2);
    expect(scale.x(10 * HOUR)).toBeCloseTo(1000);
  });

  test("never turns round: later is further right", () => {
    const scale = new Scale(0, 5 * HOUR, 700, [{ start: 0, end: HOUR }, { start: 2 * HOUR, end: 3 * HOUR }]);
    let last = -1;
    for (let time = 0; time <= 5 * HOUR; time += HOUR / 31) {
      expect(scale.x(time)).toBeGreaterThan(last);
      last = scale.x(time);
    }
  });
});

describe("quiet stretches", () => {
  test("are found between what happened, with room left on both sides", () => {
    const [gap, ...others] = gapsOf([0, 1000, HOUR], 0, HOUR);
    expect(others).toEqual([]);
    expect(gap!.start).toBeGreaterThan(1000);
    expect(gap!.end).toBeLessThan(HOUR);
  });

  test("are not looked for where nothing happened at all", () => {
    expect(gapsOf([], 0, HOUR)).toEqual([]);
  });

  test("that a person would wait for are left as they are", () => {
    expect(gapsOf([0, 9000], 0, 9000)).toEqual([]);
  });
});

test("ticks stand apart and in order, whatever the length", () => {
  for (const length of [500, 60_000, HOUR, 24 * HOUR, 30 * 24 * HOUR]) {
    const found = ticks(new Scale(1_700_000_000_000, 1_700_000_000_000 + length, 1100));
    expect(found.length).toBeGreaterThan(2);
    found.slice(1).forEach((tick, place) => expect(tick.x - found[place]!.x).toBeGreaterThan(50));
  }
});
