// One object, of any kind, as of the cursor: what it is, who made each line of it, what it was, and what can be done.
import { lazy, Suspense, useMemo, type JSX } from "react";
import { gql } from "../../api/graphql";
import { feed, useLive } from "../../api/live";
import type { LogEvent } from "../../model/events";
import type { Manifest } from "../../model/manifest";
import { moveTo, useCursor } from "../../state/cursor";
import { now as serverNow } from "../../state/clock";
import { useData } from "../../state/data";
import { useActions, type Action } from "../../state/keys";
import { objectPath, refOf, set, to, useRoute, go, type Ref } from "../../state/route";
import { Age, Empty, FaultScreen, Link, Rev, Skeleton, StateBadge } from "../../ui/parts";
import { useKinds } from "../browse";
import { HistoryList } from "../history";
import { Suspects } from "../suspects";
import { Actions } from "./actions";
import { Blame } from "./blame";
import { DiffTab } from "./diff";
import { Logs } from "./logs";
import { Tree } from "./tree";
import type { StateName } from "../../api/timeline";
import { useEffect, useState } from "react";

const Edit = lazy(() => import("./edit"));

export interface Told {
  object: {
    uid: string;
    kind: string;
    apiVersion: string;
    revision: number;
    createdAt: string | null;
    deletionRequestedAt: string | null;
    manifest: Manifest;
    owners: { kind: string; resource: string; namespace: string | null; name: string }[];
  } | null;
}

const QUERY = `query($resource: String, $namespace: String, $name: String, $at: Moment) { object(resource: $resource, namespace: $namespace, name: $name, at: $at) {
  uid kind apiVersion revision createdAt deletionRequestedAt manifest owners { kind resource namespace name } } }`;

const TABS: [string, string][] = [["manifest", "Manifest"], ["diff", "Diff"], ["history", "History"], ["tree", "Tree"], ["suspects", "Suspects"], ["events", "Events"], ["logs", "Logs"], ["edit", "Edit"]];

export default function ObjectView(): JSX.Element {
  const { path, query } = useRoute();
  const refers = refOf(path);
  if (!refers) return <Empty title="That is no object's address" actions={<Link className="button" href={to("/b")}>All objects</Link>}>It has to be /o/GROUP/VERSION/RESOURCE/NAMESPACE/NAME.</Empty>;
  return <One key={path} refers={refers} tab={query.get("tab") ?? "manifest"} />;
}

function One({ refers, tab }: { refers: Ref; tab: string }): JSX.Element {
  const { query } = useRoute();
  const cursor = useCursor();
  const live = useLive();
  const kinds = useKinds();
  const [turn, setTurn] = useState(0);
  const kind = kinds?.find((one) => one.resource === refers.resource);
  const key = `object ${refers.resource}/${refers.namespace}/${refers.name} ${cursor.at ?? turn}`;
  const found = useData<Told>(key, (signal) => gql<Told>(QUERY, { resource: refers.resource, namespace: refers.namespace || null, name: refers.name, at: cursor.at }, signal));
  const object = found.data?.object;
  const standing = useData<{ standing: { rows: [string, string, string, string, string, string, StateName, string, string, number][] } }>(
    object ? `standing ${key} ${object.revision}` : null,
    (signal) => gql("query($r: [String!]!, $n: String, $at: Moment) { standing(resources: $r, namespace: $n, at: $at) { rows } }", { r: [refers.resource], n: refers.namespace || null, at: cursor.at }, signal),
  );
  const state = standing.data?.standing.rows.find((row) => row[2] === refers.name);

  useEffect(() => {
    if (!cursor.live) return;
    return feed.listen((events) => {
      if (events.some((event) => event.resource === refers.resource && event.name === refers.name && (event.namespace ?? "") === refers.namespace)) setTurn((one) => one + 1);
    });
  }, [cursor.live, refers]);

  const owner = object?.owners[0];
  const list: Action[] = useMemo(() => [
    ...TABS.map(([id, label]) => ({ id: `o.${id}`, label: `Show ${label.toLowerCase()}`, ...({ manifest: { keys: "y" }, diff: { keys: "x" }, logs: { keys: "l" }, history: { keys: "i" } }[id] ?? {}), run: () => set({ tab: id === "manifest" ? null : id }), group: "Object" })),
    { id: "o.owner", label: "Go to its owner", keys: "o", run: () => { if (owner) go(to(objectPath({ resource: owner.resource, namespace: owner.namespace ?? "", name: owner.name }))); }, disabled: owner ? undefined : "nothing owns it", group: "Object" },
    { id: "o.timeline", label: "Show on the timeline", keys: "t", run: () => go(to("/t", { sel: `${refers.resource}/${refers.namespace}/${refers.name}` })), group: "Object" },
    { id: "o.close", label: "Back to all of its kind", keys: "esc", run: () => go(to("/b", { kind: refers.resource })), group: "Object" },
  ], [owner, refers]); // prettier-ignore
  useActions(list);

  const tabs = TABS.filter(([id]) => id !== "logs" || refers.resource === "pods");
  const now = cursor.time ?? serverNow();
  return (
    <>
      <div className="head">
        <div className="row wrap">
          <h1 className="ellipsis">{refers.name}</h1>
          <span className="soft">{kind?.kind ?? refers.resource}{refers.namespace ? ` in ${refers.namespace}` : ""}</span>
          {state ? <StateBadge state={state[6]} text={state[7]} /> : null}
          <span className="grow" />
          <Link className="button small" href={to("/t", { sel: `${refers.resource}/${refers.namespace}/${refers.name}`, tab: "suspects" })} title="On the timeline (t)">Timeline</Link>
          {object ? <Actions refers={refers} manifest={object.manifest} revision={object.revision} done={() => setTurn((one) => one + 1)} /> : null}
        </div>
        {object ? (
          <dl className="facts">
            <div><dt>revision</dt><dd><Rev revision={object.revision} /></dd></div>
            {object.createdAt ? <div><dt>age</dt><dd><Age time={object.createdAt} now={now} /></dd></div> : null}
            {object.owners.map((one) => <div key={one.name}><dt>owned by</dt><dd><Link href={to(objectPath({ resource: one.resource, namespace: one.namespace ?? "", name: one.name }))}>{one.kind} {one.name}</Link></dd></div>)}
            {managers(object.manifest).map((one) => <div key={one}><dt>managed by</dt><dd>{one}</dd></div>)}
            {((object.manifest.metadata?.["finalizers"] as string[] | undefined) ?? []).map((one) => <div key={one}><dt>finalizer</dt><dd className="mono">{one}</dd></div>)}
            {state?.[8] ? <div><dt>wrong</dt><dd className="bad">✕ {state[8]}</dd></div> : null}
          </dl>
        ) : null}
        <div className="tabs" role="tablist" aria-label="What to see">
          {tabs.map(([id, label]) => <button key={id} type="button" role="tab" aria-selected={tab === id} onClick={() => set({ tab: id === "manifest" ? null : id })}>{label}</button>)}
        </div>
      </div>
      <div className="page" role="tabpanel" aria-label={tab} style={{ display: "flex", flexDirection: "column" }}>
        {found.fault && !["history", "diff"].includes(tab) ? <FaultScreen fault={found.fault} again={found.again} />
          : !found.data && found.loading ? <Skeleton />
          : tab === "history" ? <HistoryList refers={refers} at={cursor.at} selected={Number(query.get("b") ?? 0)} pick={(event: LogEvent) => { set({ tab: "diff", a: null, b: event.revision }); moveTo(event.revision, Date.parse(event.time), true); }} />
          : tab === "diff" ? <DiffTab refers={refers} at={cursor.at} />
          : tab === "suspects" ? <div className="stack" style={{ maxWidth: 860 }}><Suspects refers={refers} at={cursor.at} /></div>
          : !object ? (
            <Empty title={cursor.live ? "It does not exist now" : "It did not exist at this moment"} actions={<><button type="button" className="button primary" onClick={() => set({ tab: "history" })}>Its history</button><Link className="button" href={to("/b", { kind: refers.resource })}>All of its kind</Link></>}>
              The log keeps what it was: its history shows every life of the name.
            </Empty>
          )
          : tab === "tree" ? <Tree refers={refers} at={cursor.at} />
          : tab === "events" ? <Reports refers={refers} uid={object.uid} at={cursor.at} />
          : tab === "logs" ? <Logs refers={refers} manifest={object.manifest} live={cursor.live} />
          : tab === "edit" ? <Suspense fallback={<Skeleton />}><Edit refers={refers} manifest={object.manifest} revision={object.revision} done={() => { set({ tab: null }); setTurn((one) => one + 1); }} /></Suspense>
          : <Blame refers={refers} at={cursor.at} revision={object.revision} manifest={object.manifest} />}
      </div>
      <span className="visually-hidden" aria-live="polite">{live.connection === "live" ? "" : live.connection}</span>
    </>
  );
}

function managers(manifest: Manifest): string[] {
  const fields = (manifest.metadata?.["managedFields"] as { manager?: string; subresource?: string }[] | undefined) ?? [];
  return [...new Set(fields.filter((one) => !one.subresource).map((one) => one.manager ?? ""))].filter(Boolean);
}

interface Report {
  type: string;
  reason: string;
  message: string;
  count: number;
  time: string;
}

/** What components reported about it: Kubernetes' own Events. */
function Reports({ refers, uid, at }: { refers: Ref; uid: string; at: string | null }): JSX.Element {
  const found = useData(`reports ${uid} ${at ?? ""}`, async (signal) => {
    const data = await gql<{ objects: { nodes: { manifest: Record<string, unknown> }[] } }>(
      'query($n: String, $f: String, $at: Moment) { objects(resource: "events", namespace: $n, fieldSelector: $f, at: $at, first: 200) { nodes { manifest } } }',
      { n: refers.namespace || "default", f: `involvedObject.uid=${uid}`, at }, signal,
    ); // prettier-ignore
    return data.objects.nodes.map(({ manifest }): Report => ({
      type: String(manifest["type"]), reason: String(manifest["reason"]), message: String(manifest["message"]), count: Number(manifest["count"] ?? 1),
      time: (manifest["lastTimestamp"] ?? manifest["eventTime"] ?? (manifest["metadata"] as { creationTimestamp: string }).creationTimestamp) as string,
    })).sort((a, b) => b.time.localeCompare(a.time)); // prettier-ignore
  });
  if (found.fault) return <FaultScreen fault={found.fault} again={found.again} />;
  if (!found.data) return <Skeleton />;
  if (!found.data.length) return <Empty title="Nobody reported anything about it">Reports are kept for an hour; the history of the object is kept for ever.</Empty>;
  return (
    <table className="table">
      <thead><tr><th scope="col">Last</th><th scope="col">Type</th><th scope="col">Reason</th><th scope="col">Message</th><th scope="col" className="right">Times</th></tr></thead>
      <tbody>{found.data.map((one) => <tr key={one.time + one.reason + one.message}><td><Age time={one.time} now={serverNow()} /></td><td className={one.type === "Warning" ? "bad" : ""}>{one.type === "Warning" ? "▲ " : ""}{one.type}</td><td>{one.reason}</td><td>{one.message}</td><td className="right num">{one.count}</td></tr>)}</tbody>
    </table>
  );
}
