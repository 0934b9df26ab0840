// Who did what: the busy, counted; and every request that was kept, refusals with their reasons among them.
import { useEffect, useState, type JSX } from "react";
import { gql } from "../api/graphql";
import { useData } from "../state/data";
import { set, to, useRoute } from "../state/route";
import { Filter } from "../ui/filter";
import { Actor, Empty, FaultScreen, Link, Rev, Skeleton, Time } from "../ui/parts";
import type { ActorKind } from "../model/events";

interface Entry {
  time: string;
  user: string;
  impersonator: string;
  verb: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
  uri: string;
  outcome: "ALLOWED" | "REFUSED";
  code: number;
  message: string;
  source: string;
  correlation: string;
  revision: number | null;
}

interface Page {
  audit: { nodes: Entry[]; dropped: number; pageInfo: { hasNextPage: boolean; endCursor: string | null } };
}

interface Busy {
  activity: { from: string; to: string; rows: { name: string; kind: ActorKind; verb: string; resource: string; counts: number[] }[] };
}

const QUERY = `query($q: String!, $outcome: AuditOutcome, $after: ID) { audit(query: $q, outcome: $outcome, first: 100, after: $after) { dropped pageInfo { hasNextPage endCursor }
  nodes { time user impersonator verb resource subresource namespace name uri outcome code message source correlation revision } } }`;
const BUSY = `query($from: Moment!, $bins: Int!) { activity(from: $from, bins: $bins) { from to rows { name kind verb resource counts } } }`;
const RANGES: [string, string][] = [["1h", "1 h"], ["1d", "1 day"], ["7d", "7 days"]];
const BINS = 24;
const ACTORS_MAX = 14;

export default function Audit(): JSX.Element {
  const { query } = useRoute();
  const q = query.get("q") ?? "";
  const outcome = query.get("outcome");
  const range = query.get("since") ?? "1d";
  const [pages, setPages] = useState<{ key: string; nodes: Entry[]; next: string | null }>();
  const key = `audit ${q} ${outcome ?? ""}`;
  const found = useData<Page>(key, (signal) => gql<Page>(QUERY, { q, outcome, after: null }, signal));
  const busy = useData<Busy>(`busy ${range}`, (signal) => gql<Busy>(BUSY, { from: range, bins: BINS }, signal).catch(() => gql<Busy>(BUSY, { from: "1", bins: BINS }, signal)));
  useEffect(() => {
    if (found.data) setPages({ key, nodes: found.data.audit.nodes, next: found.data.audit.pageInfo.hasNextPage ? found.data.audit.pageInfo.endCursor : null });
  }, [found.data, key]);
  const nodes = pages?.key === key ? pages.nodes : undefined;
  return (
    <div className="page">
      <div className="inner">
        <section className="card" aria-label="Who wrote how much">
          <header>
            <h2>Who wrote how much</h2>
            <div className="transport" role="group" aria-label="Range">{RANGES.map(([value, label]) => <button key={value} type="button" style={{ padding: "0 8px" }} aria-pressed={range === value} onClick={() => set({ since: value })}>{label}</button>)}</div>
          </header>
          {busy.data ? <Matrix busy={busy.data} /> : busy.fault ? <p className="soft">{busy.fault.message}</p> : <Skeleton lines={4} />}
        </section>
        <section className="card" aria-label="Requests" style={{ overflow: "visible" }}>
          <header><h2>Requests</h2>{found.data?.audit.dropped ? <span className="bad">{found.data.audit.dropped} records could not be kept</span> : null}</header>
          <div className="row wrap" style={{ marginBottom: 10 }}>
            <Filter value={q} apply={(text) => set({ q: text })} placeholder="kind:Secret ns:shop actor:bob since:1h" />
            <div className="transport" role="group" aria-label="Outcome">
              {([[null, "all"], ["REFUSED", "refused"], ["ALLOWED", "allowed"]] as const).map(([value, label]) => <button key={label} type="button" style={{ padding: "0 8px" }} aria-pressed={outcome === value} onClick={() => set({ outcome: value })}>{label}</button>)}
            </div>
          </div>
          {found.fault ? <FaultScreen fault={found.fault} again={found.again} />
            : !nodes ? <Skeleton />
            : !nodes.length ? <Empty title="No request matches">Kept are refusals, reads of Secrets, and what the audit policy names; writes are in the log for ever.</Empty>
            : (
              <div style={{ overflowX: "auto" }}>
                <table className="table">
                  <thead><tr><th scope="col">Time</th><th scope="col">Who</th><th scope="col">Verb</th><th scope="col">What</th><th scope="col">Outcome</th><th scope="col">Event</th></tr></thead>
                  <tbody>
                    {nodes.map((one) => (
                      <tr key={`${one.correlation} ${one.time} ${one.verb} ${one.name} ${one.revision ?? ""}`}>
                        <td><Time time={one.time} /></td>
                        <td title={one.source}>{one.impersonator ? `${one.impersonator} as ` : ""}{one.user || "nobody"}</td>
                        <td>{one.verb}</td>
                        <td>{one.resource ? `${one.resource}${one.subresource ? `/${one.subresource}` : ""} ${one.namespace ? `${one.namespace}/` : ""}${one.name}` : one.uri}</td>
                        <td className={one.outcome === "REFUSED" ? "bad" : "soft"}>{one.outcome === "REFUSED" ? `✕ ${one.code} ${one.message}` : one.code}</td>
                        <td>{one.revision ? <Rev revision={one.revision} time={one.time} /> : null}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )}
          {pages?.key === key && pages.next ? <button type="button" className="button" style={{ marginTop: 10 }} onClick={() => void gql<Page>(QUERY, { q, outcome, after: pages.next }).then(({ audit }) => setPages({ key, nodes: [...pages.nodes, ...audit.nodes], next: audit.pageInfo.hasNextPage ? audit.pageInfo.endCursor : null }))}>Older</button> : null}
        </section>
      </div>
    </div>
  );
}

function Matrix({ busy }: { busy: Busy }): JSX.Element {
  const by = new Map<string, { kind: ActorKind; counts: number[]; verbs: Map<string, number> }>();
  for (const row of busy.activity.rows) {
    const one = by.get(row.name) ?? { kind: row.kind, counts: Array.from({ length: BINS }, () => 0), verbs: new Map<string, number>() };
    row.counts.forEach((count, place) => { one.counts[place]! += count; });
    one.verbs.set(row.verb, (one.verbs.get(row.verb) ?? 0) + row.counts.reduce((sum, count) => sum + count, 0));
    by.set(row.name, one);
  }
  const order = (kind: ActorKind): number => (kind === "PERSON" ? 0 : kind === "SERVICE_ACCOUNT" ? 1 : 2);
  const list = [...by].sort(([, a], [, b]) => order(a.kind) - order(b.kind) || sum(b.counts) - sum(a.counts)).slice(0, ACTORS_MAX);
  if (!list.length) return <p className="soft">Nobody wrote anything in this range.</p>;
  return (
    <table className="table" aria-label="Who wrote how much">
      <thead><tr><th scope="col">Who</th><th scope="col" style={{ width: "40%" }}>When</th><th scope="col">What</th><th scope="col" className="right">Changes</th></tr></thead>
      <tbody>
        {list.map(([name, one]) => {
          const most = Math.max(1, ...one.counts);
          return (
            <tr key={name}>
              <td><Link href={to("/e", { q: `actor:${/[\s:]/.test(name) ? `"${name}"` : name}` })} style={{ color: "inherit" }}><Actor who={{ name, kind: one.kind }} /></Link></td>
              <td><svg viewBox={`0 0 ${BINS} 10`} preserveAspectRatio="none" width="100%" height="16" aria-hidden="true">{one.counts.map((count, place) => (count ? <rect key={place} x={place + 0.08} width={0.84} y={10 - Math.max(1.5, (count / most) * 10)} height={Math.max(1.5, (count / most) * 10)} fill={one.kind === "PERSON" ? "var(--person)" : "var(--accent)"} /> : null))}</svg></td>
              <td className="soft">{[...one.verbs].sort(([, a], [, b]) => b - a).map(([verb, count]) => `${verb} ${count}`).join(" · ")}</td>
              <td className="right num">{sum(one.counts)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function sum(counts: readonly number[]): number {
  return counts.reduce((all, one) => all + one, 0);
}
