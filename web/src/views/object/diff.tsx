// What differs between two moments of one object: field by field, or side by side.
import { lazy, Suspense, type JSX } from "react";
import { gql } from "../../api/graphql";
import { CHANGE_FIELDS, EVENT_FIELDS, type FieldChange, type LogEvent } from "../../model/events";
import { readable, toYaml, type Manifest } from "../../model/manifest";
import { clockTime } from "../../model/time";
import { useData } from "../../state/data";
import { useActions } from "../../state/keys";
import { set, useRoute, type Ref } from "../../state/route";
import { Changes } from "../../ui/changes";
import { Empty, FaultScreen, Skeleton } from "../../ui/parts";
import { useMemo } from "react";

const SideBySide = lazy(() => import("../../ui/code").then((found) => ({ default: found.SideBySide })));

interface Versions {
  history: { nodes: LogEvent[] };
}

interface Compared {
  diff: { identical: boolean; changes: FieldChange[] };
  a: { manifest: Manifest } | null;
  b: { manifest: Manifest } | null;
}

const HISTORY = `query($resource: String, $namespace: String, $name: String) { history(resource: $resource, namespace: $namespace, name: $name, first: 500) { nodes { ${EVENT_FIELDS} } } }`;
const DIFF = `query($ref: ObjectRef!, $resource: String, $namespace: String, $name: String, $a: Moment!, $b: Moment!) { diff(ref: $ref, from: $a, to: $b) { identical changes { ${CHANGE_FIELDS} } }
  a: object(resource: $resource, namespace: $namespace, name: $name, at: $a) { manifest } b: object(resource: $resource, namespace: $namespace, name: $name, at: $b) { manifest } }`;

export function DiffTab({ refers, at }: { refers: Ref; at: string | null }): JSX.Element {
  const { query } = useRoute();
  const which = { resource: refers.resource, namespace: refers.namespace || null, name: refers.name };
  const key = `${refers.resource}/${refers.namespace}/${refers.name}`;
  const versions = useData<Versions>(`versions ${key} ${at ?? ""}`, (signal) => gql<Versions>(HISTORY, which, signal));
  const nodes = versions.data?.history.nodes;
  const limit = /^r?\d+$/.test(at ?? "") ? Number((at ?? "").replace("r", "")) : Infinity;
  const latest = nodes?.find((one) => one.revision <= limit)?.revision;
  const b = Number(query.get("b") ?? 0) || latest || 0;
  const place = nodes?.findIndex((one) => one.revision === b) ?? -1;
  const a = Number(query.get("a") ?? 0) || nodes?.[place + 1]?.revision || 0;
  const compared = useData<Compared>(a && b ? `diff ${key} ${a} ${b}` : null, (signal) => gql<Compared>(DIFF, { ref: which, ...which, a: `r${a}`, b: `r${b}` }, signal));
  useActions(useMemo(() => [
    { id: "d.older", label: "Older revision", keys: "[", run: () => { const next = nodes?.[place + 1]; if (next) set({ a: null, b: next.revision }); }, group: "Diff" },
    { id: "d.newer", label: "Newer revision", keys: "]", run: () => { const next = nodes?.[place - 1]; if (next) set({ a: null, b: next.revision }); }, group: "Diff" },
  ], [nodes, place])); // prettier-ignore
  if (versions.fault) return <FaultScreen fault={versions.fault} again={versions.again} />;
  if (!nodes) return <Skeleton />;
  if (!nodes.length) return <Empty title="The log has nothing of it" />;
  const side = query.get("view") === "side";
  const event = nodes[place];
  const option = (one: LogEvent): JSX.Element => <option key={one.revision} value={one.revision}>r{one.revision} · {clockTime(one.time)} · {one.actor.name}</option>;
  return (
    <div className="stack" style={{ flex: 1 }}>
      <div className="row wrap">
        <label className="row">from <select className="field mono" value={a} onChange={(changed) => set({ a: changed.target.value }, true)}>{a ? null : <option value={0}>nothing</option>}{nodes.filter((one) => one.revision < b).map(option)}</select></label>
        <label className="row">to <select className="field mono" value={b} onChange={(changed) => set({ a: null, b: changed.target.value }, true)}>{nodes.map(option)}</select></label>
        <button type="button" className="button small" title="[" disabled={!nodes[place + 1]} onClick={() => set({ a: null, b: nodes[place + 1]!.revision })}>Older</button>
        <button type="button" className="button small" title="]" disabled={place <= 0} onClick={() => set({ a: null, b: nodes[place - 1]!.revision })}>Newer</button>
        <label className="row"><input type="checkbox" checked={side} onChange={(changed) => set({ view: changed.target.checked ? "side" : null }, true)} /> side by side</label>
      </div>
      {event ? <p>{event.sentence}</p> : null}
      {!a ? <p className="soft">It began with r{b}: there is nothing before it to compare with.</p>
        : compared.fault ? <FaultScreen fault={compared.fault} again={compared.again} />
        : !compared.data ? <Skeleton />
        : side ? <Suspense fallback={<Skeleton />}><SideBySide before={compared.data.a ? toYaml(readable(compared.data.a.manifest)) : ""} after={compared.data.b ? toYaml(readable(compared.data.b.manifest)) : ""} /></Suspense>
        : <Changes changes={compared.data.diff.changes} empty="Nothing that is shown differs between the two." />}
    </div>
  );
}
