// The log itself: one line an event, newest first; follows while LIVE, goes back as far as the log does.
import { useCallback, useEffect, useMemo, useRef, useState, type JSX } from "react";
import { gql } from "../api/graphql";
import { Fault } from "../api/http";
import { EVENT_FIELDS, laneOf, type LogEvent } from "../model/events";
import { now as serverNow } from "../state/clock";
import { useCursor } from "../state/cursor";
import { usePulse } from "../state/pulse";
import { useActions } from "../state/keys";
import { objectPath, set, to, useRoute } from "../state/route";
import { Filter } from "../ui/filter";
import { Actor, Empty, FaultScreen, Link, Rev, Skeleton, Time } from "../ui/parts";
import { exportEvents } from "./export";
import { toast } from "../ui/toast";

interface Page {
  search: { hits: { event: LogEvent }[]; searchedTo: number; horizon: number; cuts: string[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } };
}

const QUERY = `query($q: String!, $until: Moment, $after: ID, $first: Int, $order: EventOrder!) { search(query: $q, until: $until, order: $order, first: $first, after: $after) {
  searchedTo horizon cuts pageInfo { hasNextPage endCursor } hits { event { ${EVENT_FIELDS} } } } }`;
const PAGE = 100;
const ROW = 30;
const QUICK: [string, string][] = [["is:person", "by people"], ["is:wanted", "what is wanted"], ["verb:delete", "deletions"], ["is:status", "statuses"]];

export default function Events(): JSX.Element {
  const { query } = useRoute();
  const cursor = useCursor();
  const q = query.get("q") ?? "";
  const key = `${q} ${cursor.at ?? ""}`;
  const [state, setState] = useState<{ key: string; events: LogEvent[]; next: string | null; more: boolean; horizon: number; cuts: string[]; fresh: number }>();
  const [fault, setFault] = useState<Fault>();
  const [top, setTop] = useState(0);
  const box = useRef<HTMLDivElement>(null);
  const busy = useRef(false);
  const pulse = usePulse(cursor.live, 120);

  useEffect(() => {
    const stop = new AbortController();
    gql<Page>(QUERY, { q, until: cursor.at, first: PAGE, order: "NEWEST_FIRST", after: null }, stop.signal).then(
      ({ search }) => {
        setFault(undefined);
        setState({ key, events: search.hits.map((hit) => hit.event), next: search.pageInfo.endCursor, more: search.pageInfo.hasNextPage, horizon: search.horizon, cuts: search.cuts, fresh: Infinity });
      },
      (error: unknown) => { if (!stop.signal.aborted) setFault(error instanceof Fault ? error : new Fault(String(error), "INTERNAL")); }, // prettier-ignore
    );
    return () => stop.abort();
  }, [key, q, cursor.at]);

  // What came since: asked from the newest that is shown, so that nothing is left out however much came.
  useEffect(() => {
    if (!pulse || !state || state.key !== key || /(^|\s)since:/.test(q)) return;
    const newest = state.events[0]?.revision ?? 0;
    void gql<Page>(QUERY, { q: `${q} since:r${newest + 1}`, first: 500, order: "NEWEST_FIRST", until: null, after: null }).then(({ search }) => {
      const came = search.hits.map((hit) => hit.event).filter((event) => event.revision > newest);
      if (came.length) setState((before) => (before?.key === key ? { ...before, events: [...came.filter((one) => one.revision > (before.events[0]?.revision ?? 0)), ...before.events], fresh: newest } : before));
    }, () => undefined);
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [pulse]);

  const more = useCallback(() => {
    if (busy.current || !state?.more) return;
    busy.current = true;
    void gql<Page>(QUERY, { q, until: cursor.at, first: PAGE, order: "NEWEST_FIRST", after: state.next }).then(
      ({ search }) => setState((before) => (before?.key === state.key ? { ...before, events: [...before.events, ...search.hits.map((hit) => hit.event)], next: search.pageInfo.endCursor, more: search.pageInfo.hasNextPage } : before)),
      () => undefined,
    ).finally(() => { busy.current = false; });
  }, [state, q, cursor.at]);
  // A page looks at so many events: where few match, the next is asked for at once.
  useEffect(() => {
    if (state?.more && state.events.length < 30) more();
  }, [state, more]);
  useActions(useMemo(() => [{ id: "e.mine", label: "Only what people did", keys: "m", run: () => set({ q: q.includes("is:person") ? q.replace("is:person", "").trim() : `${q} is:person`.trim() }), group: "Events" }], [q]));

  const events = state?.events ?? [];
  const first = Math.max(0, Math.floor(top / ROW) - 10);
  const last = Math.min(events.length, first + Math.ceil((box.current?.clientHeight ?? 900) / ROW) + 24);
  return (
    <>
      <div className="bar">
        <Filter value={q} apply={(text) => set({ q: text })} />
        {QUICK.map(([term, label]) => <button key={term} type="button" className="button small" aria-pressed={q.includes(term)} onClick={() => set({ q: q.includes(term) ? q.replace(term, "").replace(/\s+/g, " ").trim() : `${q} ${term}`.trim() })}>{label}</button>)}
        <button type="button" className="button small" onClick={() => void exportEvents(serverNow() - 3_600_000, serverNow(), q).then((count) => toast(`${count} events of the last hour exported`), (error: unknown) => toast(String(error), { bad: true }))}>Export</button>
      </div>
      {fault ? <FaultScreen fault={fault} again={() => set({ q })} />
        : !state ? <Skeleton lines={14} />
        : !events.length && !state.more ? <Empty title={q ? "No event matches" : "Nothing has happened yet"} actions={q ? <button type="button" className="button primary" onClick={() => set({ q: null })}>Clear the filter</button> : null}>{q ? "Loosen the filter: take away a term." : null}</Empty>
        : (
          <div ref={box} className="tablebox events" tabIndex={0} role="feed" aria-label="Events, newest first" aria-busy={false} onScroll={(scrolled) => { const one = scrolled.currentTarget; setTop(one.scrollTop); if (one.scrollTop + one.clientHeight > one.scrollHeight - 600) more(); }}>
            <div className="virtual" style={{ height: events.length * ROW + 60 }}>
              {events.slice(first, last).map((event, offset) => (
                <article key={event.revision} className={`line ${event.revision > state.fresh ? "fresh" : ""}`} style={{ top: (first + offset) * ROW }} aria-posinset={first + offset + 1} aria-setsize={-1} aria-label={event.sentence}>
                  <Rev revision={event.revision} time={event.time} />
                  <span className="faint"><Time time={event.time} /></span>
                  <span className="wide-only" style={{ minWidth: 0 }}><Actor who={event.actor} /></span>
                  <span className="ellipsis"><Link href={to("/t", { sel: laneOf(event), ev: event.revision, at: event.revision, tab: "change" })} style={{ color: "var(--text)" }}>{event.sentence}</Link></span>
                  <span className="wide-only row" style={{ justifyContent: "flex-end" }}>
                    {event.causeRevision ? <Link href={to("/t", { sel: laneOf(event), ev: event.revision, at: event.revision, tab: "why" })} title={`because of r${event.causeRevision}`}>why?</Link> : null}
                    <Link href={to(objectPath({ resource: event.resource, namespace: event.namespace ?? "", name: event.name }))} aria-label={`Open ${event.kind} ${event.name}`}>open</Link>
                  </span>
                </article>
              ))}
              <p className="faint" style={{ position: "absolute", top: events.length * ROW + 14, left: 14 }}>{state.more ? "looking further back…" : state.horizon > 1 ? `the log keeps events from r${state.horizon} on` : "this is where the log begins"} {state.cuts.join(" ")}</p>
            </div>
          </div>
        )}
    </>
  );
}
