// The cursor: the one instant that every view answers as of. Absent it is LIVE.
import { gql } from "../api/graphql";
import { feed, useLive } from "../api/live";
import { useData } from "./data";
import { set, useRoute } from "./route";

export interface Cursor {
  live: boolean;
  at: string | null; // as the server takes it; null for now
  revision: number; // 0 while it is not known
  time: number | undefined; // of the moment; undefined while LIVE
  fault: string | undefined; // why there is no such moment
  code: string | undefined;
}

interface Resolved {
  moment: { revision: number; time: string | null };
}

const known = new Map<string, Resolved["moment"]>();

/** What is known of a revision already: the views tell as they go, so that moving the cursor asks nobody. */
export function remember(revision: number, time: number): void {
  if (known.size > 5000) known.clear();
  known.set(`r${revision}`, { revision, time: new Date(time).toISOString() });
}

export function useCursor(): Cursor {
  const { query } = useRoute();
  const live = useLive();
  const at = query.get("at");
  const text = at === null ? null : /^\d+$/.test(at) ? `r${at}` : at;
  const found = text === null ? undefined : known.get(text);
  const asked = useData<Resolved>(text !== null && !found ? `moment ${text}` : null, async (signal) => {
    const data = await gql<Resolved>("query($at: Moment!) { moment(at: $at) { revision time } }", { at: text }, signal);
    known.set(text!, data.moment);
    return data;
  });
  if (text === null) return { live: true, at: null, revision: live.head, time: undefined, fault: undefined, code: undefined };
  const moment = found ?? asked.data?.moment;
  return {
    live: false,
    at: text,
    revision: moment?.revision ?? (/^r\d+$/.test(text) ? Number(text.slice(1)) : 0),
    time: moment?.time ? Date.parse(moment.time) : undefined,
    fault: found ? undefined : asked.fault?.message,
    code: found ? undefined : asked.fault?.code,
  };
}

export function moveTo(revision: number, time?: number, replace = false): void {
  if (time !== undefined) remember(revision, time);
  set({ at: revision }, replace);
}

export function goLive(): void {
  set({ at: null });
}

/** The head as it is known here. */
export function head(): number {
  return feed.snapshot().head;
}
