// The picture's data: fetched when the range has come to rest, kept while the next is on its way, renewed by events.
import { useCallback, useEffect, useRef, useState } from "react";
import { Fault } from "../../api/http";
import { feed } from "../../api/live";
import { now } from "../../state/clock";
import { timeline, type Lane, type Timeline } from "../../api/timeline";

export interface Range {
  from: number;
  to: number;
  follow: boolean; // the end is now, whatever time that is
}

const LANES = 300;
const BINS = 240;
// A picture that takes long to make is not asked for again at once.
const REST_FACTOR = 3;
const REST_MS_MIN = 60;
const SETTLE_MS = 90;

export interface Picture {
  data: Timeline | undefined;
  fault: Fault | undefined;
  loading: boolean;
  again: () => void;
  more: (() => void) | undefined;
}

export function useTimeline(range: Range, q: string, group: string): Picture {
  const [data, setData] = useState<Timeline>();
  const [fault, setFault] = useState<Fault>();
  const [loading, setLoading] = useState(true);
  const [turn, setTurn] = useState(0);
  const question = useRef({ range, q, group });
  const cost = useRef(0);
  useEffect(() => {
    question.current = { range, q, group };
  });
  const key = `${q}|${group}|${range.follow ? `~${range.to - range.from}` : `${range.from}-${range.to}`}`;
  useEffect(() => {
    const stop = new AbortController();
    setLoading(true);
    const timer = window.setTimeout(() => {
      const asked = question.current;
      const began = performance.now();
      const length = asked.range.to - asked.range.from;
      const to = asked.range.follow ? now() : asked.range.to;
      // A little more than is seen, so that panning shows something.
      const margin = Math.min(length * 0.25, 86_400_000);
      const end = Math.min(now(), to + (asked.range.follow ? 0 : margin));
      timeline({ from: Math.min(to - length, end - 1) - margin, to: end, q: asked.q, group: asked.group, first: LANES, bins: BINS }, stop.signal).then(
        (found) => {
          cost.current = performance.now() - began;
          setData(found);
          setFault(undefined);
          setLoading(false);
        },
        (error: unknown) => {
          if (stop.signal.aborted) return;
          const told = error instanceof Fault ? error : new Fault(String(error), "INTERNAL");
          setLoading(false);
          if (told.code !== "OFFLINE") setFault(told);
        },
      );
    }, SETTLE_MS);
    return () => {
      window.clearTimeout(timer);
      stop.abort();
    };
  }, [key, turn]);
  const again = useCallback(() => setTurn((one) => one + 1), []);
  useEffect(() => {
    if (!range.follow) return;
    let timer = 0;
    const stop = feed.listen(() => {
      if (timer) return;
      timer = window.setTimeout(() => { timer = 0; again(); }, Math.max(REST_MS_MIN, cost.current * REST_FACTOR)); // prettier-ignore
    });
    return () => {
      stop();
      window.clearTimeout(timer);
    };
  }, [range.follow, again]);
  const more = useCallback(() => {
    if (!data?.next) return;
    const asked = question.current;
    void timeline({ from: data.from, to: data.to, q: asked.q, group: asked.group, first: LANES, after: data.next, bins: 1 }).then((found) => {
      setData((before) => (before?.next === data.next ? { ...before, lanes: [...before.lanes, ...found.lanes], next: found.next } : before));
    });
  }, [data]);
  return { data, fault, loading, again, more: data?.next ? more : undefined };
}

/** Lanes by the uids of their objects: those that a story needs and the page has not. */
export function useExtra(uids: readonly string[], range: Range): readonly Lane[] {
  const [lanes, setLanes] = useState<readonly Lane[]>([]);
  const key = uids.join(",");
  const { from, to } = range;
  useEffect(() => {
    if (!key) {
      setLanes([]);
      return;
    }
    const stop = new AbortController();
    const ask = { from, to: Math.min(to, now()), q: `uid:${key}`, group: "kind", first: 100, bins: 1 };
    timeline(ask, stop.signal).then((found) => setLanes(found.lanes), () => undefined);
    return () => stop.abort();
  }, [key, from, to]);
  return lanes;
}
