import { expect, test } from "vitest";
import { unpacked, type Lane } from "../src/api/timeline";
import { rowsOf } from "../src/views/timeline/rows";

const lane = (id: string, parent: number, depth: number): Lane => ({ id, parent, depth, kind: "Pod", node: "", uids: [], spans: [], marks: [] });
const LANES = [lane("deployments.apps/shop/web", -1, 0), lane("pods/shop/web-1", 0, 1), lane("pods/shop/web-2", 0, 1), lane("nodes//node-1", -1, 0)];
const told = (folded: string[], pinned: Lane[] = []): string[] => rowsOf(LANES, new Set(folded), pinned).map((row) => (row.lane ? row.label : `[${row.label}]`));

test("namespaces head their lanes", () => {
  expect(told([])).toEqual(["[shop]", "web", "web-1", "web-2", "[whole cluster]", "node-1"]);
});

test("a folded lane hides what lies under it and nothing else", () => {
  expect(told(["deployments.apps/shop/web"])).toEqual(["[shop]", "web", "[whole cluster]", "node-1"]);
});

test("pinned lanes come first", () => {
  expect(told([], [LANES[2]!]).slice(0, 2)).toEqual(["[pinned]", "web-2"]);
});

test("rows of numbers get their names back", () => {
  const found = unpacked({
    from: 0, to: 9, low: 0, high: 2, head: 2, horizon: 0, now: 9, total: 1, hidden: 0, notes: [], next: null, lastBefore: null, cuts: [],
    histogram: { writes: [], people: [], deletions: [], warnings: [] }, actors: [["alice", "PERSON", "alice", ""], ["x", "NODE", "x", "bob"]],
    lanes: [["pods/shop/a", -1, 0, "Pod", "node-1", ["u"], [[1, 9, 1, "running", "Running", 0]], [[1, 1, "create", 0, 1, 0, ""], [2, 2, "status", 1, 3, 1, ""]]]],
  }); // prettier-ignore
  expect(found.lanes[0]!.spans[0]).toEqual({ start: 1, end: 9, revision: 1, state: "running", text: "Running", life: 0 });
  expect(found.lanes[0]!.marks.map((mark) => [mark.actor.name, mark.count, mark.warning])).toEqual([["alice", 1, false], ["bob as x", 3, true]]);
});
