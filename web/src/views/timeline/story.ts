// Why and Then: the chain of causes back to a person, and what came of an event; asked once, drawn and told.
import { gql } from "../../api/graphql";
import { EVENT_FIELDS, laneOf, type LogEvent } from "../../model/events";
import { useData, type Loaded } from "../../state/data";
import type { Arrow } from "./paint";

export interface Story {
  events: LogEvent[];
  arrows: Arrow[];
  root: "PERSON" | "COMPONENT" | "HORIZON" | "LIMIT" | null;
  hidden: number;
  cut: boolean;
  depths: Map<number, number>;
}

interface Why {
  causes: { events: LogEvent[]; root: Story["root"]; hidden: number } | null;
}

interface Then {
  event: LogEvent | null;
  effects: { edges: { node: LogEvent; depth: number; parent: number }[]; cut: boolean; totalCount: number };
}

const WHY = `query($r: Revision!) { causes(revision: $r) { root hidden events { ${EVENT_FIELDS} } } }`;
const THEN = `query($r: Revision!) { event(revision: $r) { ${EVENT_FIELDS} } effects(revision: $r, depth: 8, first: 120) { cut totalCount edges { depth parent node { ${EVENT_FIELDS} } } } }`;

function arrow(cause: LogEvent, effect: LogEvent, forward: boolean): Arrow {
  return {
    from: { lane: laneOf(cause), time: Date.parse(cause.time) },
    to: { lane: laneOf(effect), time: Date.parse(effect.time) },
    forward,
  };
}

export async function why(revision: number, signal?: AbortSignal): Promise<Story> {
  const { causes } = await gql<Why>(WHY, { r: revision }, signal);
  const events = causes?.events ?? [];
  const arrows = events.slice(1).map((cause, place) => arrow(cause, events[place]!, false));
  return { events, arrows, root: causes?.root ?? null, hidden: causes?.hidden ?? 0, cut: false, depths: new Map() };
}

export async function then(revision: number, signal?: AbortSignal): Promise<Story> {
  const { event, effects } = await gql<Then>(THEN, { r: revision }, signal);
  const by = new Map(effects.edges.map((edge) => [edge.node.revision, edge.node]));
  if (event) by.set(event.revision, event);
  const arrows = effects.edges.flatMap((edge) => {
    const cause = by.get(edge.parent);
    return cause ? [arrow(cause, edge.node, true)] : [];
  });
  const events = [...(event ? [event] : []), ...effects.edges.map((edge) => edge.node)];
  return { events, arrows, root: null, hidden: 0, cut: effects.cut || effects.totalCount > effects.edges.length, depths: new Map(effects.edges.map((edge) => [edge.node.revision, edge.depth])) };
}

export function useStory(kind: string | null, revision: number): Loaded<Story> {
  const wanted = revision > 0 && (kind === "why" || kind === "then");
  return useData(wanted ? `${kind} ${revision}` : null, (signal) => (kind === "why" ? why(revision, signal) : then(revision, signal)));
}
