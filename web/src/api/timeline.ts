// The timeline's rows of numbers, unpacked into names once.
import type { ActorKind } from "../model/events";
import { learn } from "../state/clock";
import { getJson } from "./http";

export type StateName = "running" | "progressing" | "waiting" | "failed" | "ended" | "unknown" | "present";
export type MarkName = "create" | "delete" | "change" | "status" | "warning";

export interface Span {
  start: number;
  end: number;
  revision: number;
  state: StateName;
  text: string;
  life: number;
}

export interface Mark {
  time: number;
  revision: number;
  kind: MarkName;
  actor: { name: string; kind: ActorKind };
  count: number;
  warning: boolean;
  text: string;
}

export interface Lane {
  id: string;
  parent: number; // its place among all lanes; -1: none
  depth: number;
  kind: string;
  node: string;
  uids: string[];
  spans: Span[];
  marks: Mark[];
}

export interface Timeline {
  from: number;
  to: number;
  low: number;
  high: number;
  head: number;
  horizon: number;
  now: number;
  total: number;
  hidden: number;
  notes: string[];
  next: string | null;
  lanes: Lane[];
  histogram: { writes: number[]; people: number[]; deletions: number[]; warnings: number[] };
  lastBefore: { revision: number; time: string } | null;
  cuts: string[];
}

type Row = [
  string, number, number, string, string, string[], [number, number, number, StateName, string, number][],
  [number, number, MarkName, number, number, number, string][],
]; // prettier-ignore

interface Packed extends Omit<Timeline, "lanes"> {
  lanes: Row[];
  actors: [string, ActorKind, string, string][];
}

export interface Question {
  from: number;
  to: number;
  q: string;
  group: string;
  first: number;
  after?: string | undefined;
  bins: number;
}

export async function timeline(asked: Question, signal?: AbortSignal): Promise<Timeline> {
  const query = new URLSearchParams({
    from: new Date(asked.from).toISOString(), to: new Date(asked.to).toISOString(), q: asked.q, group: asked.group,
    first: String(asked.first), bins: String(asked.bins),
  }); // prettier-ignore
  if (asked.after) query.set("after", asked.after);
  const found = await getJson<Packed>(`/timeline?${query}`, signal ? { signal } : {});
  learn(found.now);
  return unpacked(found);
}

export function unpacked(packed: Packed): Timeline {
  const actors = packed.actors.map(([name, kind, , impersonator]) => ({ name: impersonator ? `${impersonator} as ${name}` : name, kind }));
  return {
    ...packed,
    lanes: packed.lanes.map(([id, parent, depth, kind, node, uids, spans, marks]) => ({
      id, parent, depth, kind, node, uids,
      spans: spans.map(([start, end, revision, state, text, life]) => ({ start, end, revision, state, text, life })),
      marks: marks.map(([time, revision, mark, actor, count, warning, text]) => ({
        time, revision, kind: mark, actor: actors[actor]!, count, warning: warning === 1, text,
      })),
    })), // prettier-ignore
  };
}
