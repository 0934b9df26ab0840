// For arriving: the cluster's health on one screen, and where to go from what is not well.
import type { JSX } from "react";
import { gql } from "../api/graphql";
import { standing, type Stand } from "../api/standing";
import type { StateName } from "../api/timeline";
import { EVENT_FIELDS, type LogEvent } from "../model/events";
import { dayTime } from "../model/time";
import { useCursor } from "../state/cursor";
import { useData } from "../state/data";
import { usePulse } from "../state/pulse";
import { objectPath, to } from "../state/route";
import { Actor, FaultScreen, Link, Rev, Skeleton, STATE_WORDS, StateBadge, Time } from "../ui/parts";

const WORKLOADS = ["deployments.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch"];
const SHOWN = ["nodes", "pods", ...WORKLOADS, "persistentvolumeclaims"];
const ORDER: StateName[] = ["failed", "unknown", "waiting", "progressing", "running", "ended", "present"];
const UNWELL_MAX = 12;

interface Rest {
  pending: { pods: number; groups: { reason: string; pods: number; examples: string[]; remedy: string }[] };
  search: { hits: { event: LogEvent }[] };
  activity: { from: string; to: string; rows: { counts: number[]; kind: string; name: string }[] };
}

const REST = `query($at: Moment, $bins: Int!) { pending(at: $at) { pods groups { reason pods examples remedy } }
  search(query: "is:person", first: 12, until: $at) { hits { event { ${EVENT_FIELDS} } } }
  activity(from: "1d", bins: $bins) { from to rows { counts kind name } } }`;
const YOUNG = REST.replace('from: "1d"', "from: 1");
const BINS = 96;

export default function Overview(): JSX.Element {
  const cursor = useCursor();
  const pulse = usePulse(cursor.live, 700);
  const found = useData(`overview ${cursor.at ?? pulse}`, (signal) => standing(SHOWN, cursor.at, signal));
  // A log younger than a day begins where it begins.
  const rest = useData<Rest>(`overview rest ${cursor.at ?? pulse}`, (signal) => gql<Rest>(REST, { at: cursor.at, bins: BINS }, signal).catch(() => gql<Rest>(YOUNG, { at: cursor.at, bins: BINS }, signal)));
  if (found.fault) return <FaultScreen fault={found.fault} again={found.again} />;
  if (!found.data) return <Skeleton lines={12} />;
  const rows = found.data.rows;
  const unwell = rows.filter((row) => row.complaint || row.state === "failed" || row.state === "unknown").filter((row) => row.state !== "ended");
  // A pod whose owner is told of is told with it.
  const heads = unwell.filter((row) => row.resource !== "pods" || !unwell.some((one) => one.uid !== row.uid && row.name.startsWith(`${one.name}-`) && one.namespace === row.namespace));
  const nodes = rows.filter((row) => row.resource === "nodes");
  const pods = rows.filter((row) => row.resource === "pods");
  const workloads = rows.filter((row) => WORKLOADS.includes(row.resource));
  return (
    <div className="page">
      <div className="inner">
        <div className="row wrap">
          <h1>{unwell.length ? `${heads.length} ${heads.length === 1 ? "thing is" : "things are"} not well` : "All is well"}</h1>
          <span className="soft">{cursor.live ? "now" : cursor.time ? `at ${dayTime(cursor.time)}` : "then"}{found.data.hidden ? ` · ${found.data.hidden} objects hidden: you may not list them` : ""}</span>
        </div>
        <div className="cards">
          <Stat title="Nodes" rows={nodes} href={to("/m")} />
          <Stat title="Workloads" rows={workloads} href={to("/b", { kind: "deployments.apps" })} />
          <Stat title="Pods" rows={pods} href={to("/b", { kind: "pods" })} />
        </div>
        {heads.length ? (
          <section className="card" aria-label="Not well">
            <header><h2>Not well</h2><span className="faint">choose one to see what changed before it broke</span></header>
            <ul className="list">
              {heads.slice(0, UNWELL_MAX).map((row) => (
                <li key={row.uid}>
                  <div className="row">
                    <StateBadge state={row.state} text={row.text} />
                    <Link className="ellipsis" href={to("/t", { sel: `${row.resource}/${row.namespace}/${row.name}`, tab: "suspects" })}>{row.resource.split(".")[0]} {row.namespace ? `${row.namespace}/` : ""}{row.name}</Link>
                    <span className="grow" />
                    <Link className="button small" href={to(objectPath(row))}>Open</Link>
                  </div>
                  {row.complaint ? <p className="soft" style={{ paddingLeft: 22 }}>{row.complaint}</p> : null}
                </li>
              ))}
            </ul>
            {heads.length > UNWELL_MAX ? <p className="soft">and {heads.length - UNWELL_MAX} more</p> : null}
          </section>
        ) : null}
        {rest.data ? (
          <div className="cards">
            <section className="card" aria-label="Changes by people">
              <header><h2>Changes by people</h2><Link href={to("/e", { q: "is:person" })}>all</Link></header>
              <ul className="list">
                {rest.data.search.hits.map(({ event }) => (
                  <li key={event.revision}>
                    <div className="row faint"><Rev revision={event.revision} time={event.time} /><Time time={event.time} /><span className="grow" /><Actor who={event.actor} /></div>
                    <Link href={to("/t", { sel: `${event.resource}/${event.namespace ?? ""}/${event.name}`, ev: event.revision, tab: "then" })} style={{ color: "var(--text)" }}>{event.sentence}</Link>
                  </li>
                ))}
                {rest.data.search.hits.length ? null : <li className="soft">Nobody has changed anything yet.</li>}
              </ul>
            </section>
            <div className="stack" style={{ gap: 16 }}>
              <section className="card" aria-label="Waiting for a node">
                <header><h2>Waiting for a node</h2><span className="num soft">{rest.data.pending.pods}</span></header>
                {rest.data.pending.groups.length ? (
                  <ul className="list">
                    {rest.data.pending.groups.map((group) => <li key={group.reason}><div className="row"><strong className="grow">{group.reason}</strong><span className="num">{group.pods}</span></div><p className="soft">{group.remedy}</p><p className="faint mono ellipsis">{group.examples.join(", ")}</p></li>)}
                  </ul>
                ) : <p className="soft">No pod waits.</p>}
              </section>
              <Growth rest={rest.data} />
            </div>
          </div>
        ) : <Skeleton />}
      </div>
    </div>
  );
}

const COLOURS: Record<StateName, string> = { failed: "var(--failed)", unknown: "var(--unknown)", waiting: "var(--waiting)", progressing: "var(--progressing)", running: "var(--running)", ended: "var(--ended)", present: "var(--present)" };

function Stat({ title, rows, href }: { title: string; rows: readonly Stand[]; href: string }): JSX.Element {
  const counts = ORDER.map((state) => [state, rows.filter((row) => row.state === state).length] as const).filter(([, count]) => count);
  const well = rows.filter((row) => row.state === "running" || row.state === "ended").length;
  return (
    <section className="card stat" aria-label={title}>
      <header style={{ marginBottom: 2 }}><h2><Link href={href} style={{ color: "inherit" }}>{title}</Link></h2></header>
      <b>{well}<span className="faint" style={{ fontSize: 14, fontWeight: 400 }}> of {rows.length} as wanted</span></b>
      <div className="meter" role="img" aria-label={counts.map(([state, count]) => `${count} ${STATE_WORDS[state]}`).join(", ")}>
        {counts.map(([state, count]) => <i key={state} style={{ flex: count, background: COLOURS[state] }} />)}
      </div>
      <div className="row wrap soft" style={{ fontSize: 12 }}>{counts.map(([state, count]) => <span key={state} className="badge"><StateBadge state={state} text={`${count} ${STATE_WORDS[state]}`} /></span>)}</div>
    </section>
  );
}

function Growth({ rest }: { rest: Rest }): JSX.Element {
  const { rows, from, to: end } = rest.activity;
  const totals = Array.from({ length: BINS }, (_, place) => rows.reduce((sum, row) => sum + (row.counts[place] ?? 0), 0));
  const most = Math.max(1, ...totals.map(Math.sqrt));
  const sum = totals.reduce((all, one) => all + one, 0);
  const busiest = new Map<string, number>();
  for (const row of rows) busiest.set(row.name, (busiest.get(row.name) ?? 0) + row.counts.reduce((all, one) => all + one, 0));
  return (
    <section className="card" aria-label="What the log took in">
      <header><h2>What the log took in</h2><span className="num soft">{sum.toLocaleString()} events</span></header>
      <svg className="spark" viewBox={`0 0 ${BINS} 44`} preserveAspectRatio="none" role="img" aria-label={`${sum} events since ${dayTime(from)}`}>
        {totals.map((count, place) => (count ? <rect key={place} x={place + 0.1} width={0.8} y={44 - (Math.sqrt(count) / most) * 42} height={(Math.sqrt(count) / most) * 42} fill="var(--accent)" opacity={0.75} /> : null))}
      </svg>
      <div className="row faint"><span className="grow">{dayTime(from)}</span><span>{dayTime(end)}</span></div>
      <p className="soft">{[...busiest].sort(([, a], [, b]) => b - a).slice(0, 5).map(([name, count]) => `${name} ${count}`).join(" · ")}</p>
    </section>
  );
}
