// Playing: the cursor goes from event to event, waiting as long as it was between them, divided by the speed; a quiet
// stretch is waited for no longer than people like to. Stepping is the same without waiting.
import { useCallback, useEffect, useRef, useState } from "react";
import { gql } from "../api/graphql";
import { goLive, moveTo, remember, type Cursor } from "./cursor";

export const SPEEDS = ["1", "10", "60", "event"] as const;
export type Speed = (typeof SPEEDS)[number];

const AHEAD = 200;
const WAIT_MS_MAX = 900;
const EVENT_MS = 260;

interface Moment {
  revision: number;
  time: number;
}

interface Page {
  search: { hits: { event: { revision: number; time: string } }[] };
}

const QUERY = `query($q: String!, $order: EventOrder!, $first: Int) { search(query: $q, order: $order, first: $first) { hits { event { revision time } } } }`;

/** The events after, or before, a revision; of those that a filter means. */
export async function neighbours(revision: number, by: 1 | -1, first: number, q = ""): Promise<Moment[]> {
  const rest = q.replace(/(^|\s)(since|until):\S+/g, " ");
  const edge = by > 0 ? `since:r${revision + 1}` : `until:r${Math.max(1, revision - 1)}`;
  const data = await gql<Page>(QUERY, { q: `${rest} ${edge}`, order: by > 0 ? "OLDEST_FIRST" : "NEWEST_FIRST", first });
  return data.search.hits.map(({ event }) => ({ revision: event.revision, time: Date.parse(event.time) }));
}

export interface Playback {
  playing: boolean;
  speed: Speed;
  setSpeed: (speed: Speed) => void;
  toggle: () => void;
  step: (by: 1 | -1) => void;
}

export function usePlayback(cursor: Cursor, q: string, head: number): Playback {
  const [playing, setPlaying] = useState(false);
  const [speed, setSpeed] = useState<Speed>("10");
  const here = useRef(cursor);
  const ahead = useRef<Moment[]>([]);
  useEffect(() => {
    here.current = cursor;
  });
  useEffect(() => {
    ahead.current = [];
  }, [q]);
  useEffect(() => {
    if (!playing) return;
    let timer = 0;
    let stopped = false;
    const turn = async (): Promise<void> => {
      const at = here.current;
      if (at.live || (head && at.revision >= head)) {
        setPlaying(false);
        goLive();
        return;
      }
      if (ahead.current[0] === undefined || ahead.current[0].revision <= at.revision) {
        ahead.current = ahead.current.filter((one) => one.revision > at.revision);
        if (!ahead.current.length) ahead.current = await neighbours(at.revision, 1, AHEAD, q).catch(() => []);
      }
      if (stopped) return;
      const next = ahead.current.shift();
      if (!next) {
        setPlaying(false);
        return;
      }
      const factor = speed === "event" ? 0 : Number(speed);
      const between = Math.max(0, next.time - (at.time ?? next.time));
      const wait = factor ? Math.min(WAIT_MS_MAX, Math.max(30, between / factor)) : EVENT_MS;
      timer = window.setTimeout(() => {
        // A burst within one moment is one step.
        let last = next;
        while (factor && ahead.current[0] && ahead.current[0].time - next.time < 40 * factor) last = ahead.current.shift()!;
        remember(last.revision, last.time);
        moveTo(last.revision, last.time, true);
        here.current = { ...here.current, live: false, revision: last.revision, time: last.time };
        void turn();
      }, wait);
    };
    void turn();
    return () => {
      stopped = true;
      window.clearTimeout(timer);
    };
  }, [playing, speed, q, head]);
  const toggle = useCallback(() => setPlaying((one) => !one && !here.current.live), []);
  const step = useCallback(
    (by: 1 | -1) => {
      setPlaying(false);
      const at = here.current.live ? head + 1 : here.current.revision;
      void neighbours(at, by, 1, q).then(([found]) => {
        if (found) moveTo(found.revision, found.time);
        else if (by > 0) goLive();
      });
    },
    [q, head],
  );
  return { playing, speed, setSpeed, toggle, step };
}
