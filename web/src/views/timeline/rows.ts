// Which rows are shown: pinned lanes first, then the tree without what is folded away. Pure.
import type { Lane } from "../../api/timeline";
import { partsOf } from "../../model/events";
import type { Row } from "./paint";

export function rowsOf(lanes: readonly Lane[], folded: ReadonlySet<string>, pinned: readonly Lane[], after = 0): Row[] {
  const out: Row[] = [];
  const children = new Map<number, number>();
  lanes.forEach((lane) => children.set(lane.parent - after, (children.get(lane.parent - after) ?? 0) + 1));
  if (pinned.length) {
    out.push(heading(`pinned`));
    for (const lane of pinned) out.push({ lane, label: partsOf(lane.id).name, folded: false, children: 0, depth: 0 });
  }
  let space: string | undefined;
  let hiddenBelow = Infinity;
  lanes.forEach((lane, place) => {
    const { namespace, name } = partsOf(lane.id);
    if (lane.depth === 0 && namespace !== space) {
      space = namespace;
      out.push(heading(namespace || "whole cluster"));
    }
    if (lane.depth > hiddenBelow) return;
    hiddenBelow = Infinity;
    const isFolded = folded.has(lane.id);
    if (isFolded) hiddenBelow = lane.depth;
    out.push({ lane, label: name, folded: isFolded, children: children.get(place) ?? 0, depth: lane.depth });
  });
  return out;
}

function heading(label: string): Row {
  return { lane: null, label, folded: false, children: 0, depth: 0 };
}

/** The instants at which anything turned: what quiet stretches are found between. A report that all is as it was is none. */
export function instants(lanes: readonly Lane[]): number[] {
  return lanes.flatMap((lane) => [
    ...lane.marks.filter((mark) => mark.kind !== "status").map((mark) => mark.time),
    ...lane.spans.slice(1).map((span) => span.start),
  ]);
}
