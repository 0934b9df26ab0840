// Nodes as boxes, pods inside, coloured by state, as of the cursor: play, and watch a rollout or a node that is lost.
import { useMemo, type JSX } from "react";
import { standing, type Stand } from "../api/standing";
import { useCursor } from "../state/cursor";
import { useData } from "../state/data";
import { usePulse } from "../state/pulse";
import { objectPath, set, to, useRoute, go } from "../state/route";
import { Empty, FaultScreen, Link, Skeleton, STATE_SIGNS, STATE_WORDS, StateBadge } from "../ui/parts";

// Of one node: more are counted.
const PODS_SHOWN_MAX = 220;

export default function MapView(): JSX.Element {
  const { query } = useRoute();
  const cursor = useCursor();
  const pulse = usePulse(cursor.live, 200, (event) => event.resource === "pods" || event.resource === "nodes");
  const found = useData(`map ${cursor.at ?? pulse}`, (signal) => standing(["nodes", "pods"], cursor.at, signal));
  const namespace = query.get("ns") ?? "";
  const rows = found.data?.rows;
  const groups = useMemo(() => {
    const pods = (rows ?? []).filter((row) => row.resource === "pods" && (!namespace || row.namespace === namespace));
    const nodes = (rows ?? []).filter((row) => row.resource === "nodes").sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    const known = new Set(nodes.map((one) => one.name));
    const by = new Map<string, Stand[]>();
    for (const pod of pods) by.set(pod.node, [...(by.get(pod.node) ?? []), pod]);
    const gone = [...by.keys()].filter((name) => name && !known.has(name));
    return { nodes, by, gone, spaces: [...new Set((rows ?? []).filter((row) => row.resource === "pods").map((row) => row.namespace))].sort() };
  }, [rows, namespace]);
  if (found.fault) return <FaultScreen fault={found.fault} again={found.again} />;
  if (!rows) return <Skeleton lines={10} />;
  const waiting = groups.by.get("") ?? [];
  return (
    <>
      <div className="bar">
        <select className="field" aria-label="Namespace" value={namespace} onChange={(changed) => set({ ns: changed.target.value })}><option value="">all namespaces</option>{groups.spaces.map((one) => <option key={one}>{one}</option>)}</select>
        <span className="soft">{groups.nodes.length} nodes, {rows.length - groups.nodes.length} pods</span>
        <span className="grow" />
        <div className="legend">{(["running", "progressing", "waiting", "failed", "unknown", "ended"] as const).map((state) => <StateBadge key={state} state={state} text={STATE_WORDS[state]} />)}</div>
      </div>
      <div className="page">
        {!groups.nodes.length && !waiting.length ? <Empty title={cursor.live ? "There are no nodes" : "There were no nodes at this moment"} /> : (
          <div className="map">
            {waiting.length ? <Box title="no node yet" state="waiting" text={`${waiting.length} wait`} pods={waiting} /> : null}
            {groups.nodes.map((node) => <Box key={node.uid} title={node.name} state={node.state} text={node.text} pods={groups.by.get(node.name) ?? []} href={to(objectPath(node))} />)}
            {groups.gone.map((name) => <Box key={name} title={name} state="unknown" text="no such node" pods={groups.by.get(name) ?? []} />)}
          </div>
        )}
        {found.data?.hidden ? <p className="soft">{found.data.hidden} objects hidden: you may not list them.</p> : null}
      </div>
    </>
  );
}

function Box({ title, state, text, pods, href }: { title: string; state: Stand["state"]; text: string; pods: readonly Stand[]; href?: string }): JSX.Element {
  return (
    <section className={`nodebox ${state}`} aria-label={`${title}, ${text}`}>
      <div className="row"><strong className="grow ellipsis">{href ? <Link href={href} style={{ color: "var(--text)" }}>{title}</Link> : title}</strong><StateBadge state={state} text={text} /></div>
      <div className="pods">
        {pods.slice(0, PODS_SHOWN_MAX).map((pod) => (
          <button key={pod.uid} type="button" className={`pod ${pod.state}`} title={`${pod.namespace}/${pod.name}\n${pod.complaint || pod.text}`} aria-label={`Pod ${pod.namespace}/${pod.name}, ${pod.text || pod.state}`} onClick={() => go(to("/t", { sel: `pods/${pod.namespace}/${pod.name}`, group: "node", tab: "suspects" }))}>
            <span aria-hidden="true">{STATE_SIGNS[pod.state]}</span>
          </button>
        ))}
        {pods.length > PODS_SHOWN_MAX ? <span className="soft">and {pods.length - PODS_SHOWN_MAX} more</span> : null}
        {pods.length ? null : <span className="faint">no pods</span>}
      </div>
    </section>
  );
}
