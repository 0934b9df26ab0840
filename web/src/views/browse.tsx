// The object browser: any kind there is, as the server's own tables show it, now or as of the cursor.
import { useMemo, useState, type JSX } from "react";
import { gql } from "../api/graphql";
import { feed } from "../api/live";
import { KIND_FIELDS, table, type Kind, type Table, type TableRow } from "../api/rest";
import { useCursor } from "../state/cursor";
import { useData } from "../state/data";
import { useActions } from "../state/keys";
import { objectPath, set, to, useRoute, go } from "../state/route";
import { Empty, FaultScreen, Link, Skeleton } from "../ui/parts";
import { useEffect } from "react";

interface Kinds {
  resources: Kind[];
}

export function useKinds(): Kind[] | undefined {
  return useData<Kinds>("kinds", (signal) => gql<Kinds>(`{ resources { ${KIND_FIELDS} } }`, {}, signal)).data?.resources;
}

const PAGE = 500;
const ROW = 30;
const LEADING = ["pods", "deployments.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch", "services", "configmaps", "secrets", "nodes", "namespaces"];

export function kindCalled(kinds: readonly Kind[], word: string): Kind | undefined {
  const wanted = word.toLowerCase();
  return kinds.find((one) => one.resource === wanted) ?? kinds.find((one) => one.kind.toLowerCase() === wanted || one.resource.split(".")[0] === wanted || one.shortNames.includes(wanted));
}

export default function Browse(): JSX.Element {
  const { query } = useRoute();
  const cursor = useCursor();
  const kinds = useKinds();
  const word = query.get("kind") ?? "pods";
  const kind = kinds && kindCalled(kinds, word);
  const namespace = query.get("ns") ?? "";
  const labels = query.get("labels") ?? "";
  const text = query.get("name") ?? "";
  const [turn, setTurn] = useState(0);
  const [sort, setSort] = useState<{ at: number; down: boolean }>();
  const [extra, setExtra] = useState<{ key: string; rows: TableRow[]; next: string | undefined }>();
  const key = kind ? `table ${kind.resource} ${namespace} ${labels} ${cursor.at ?? ""}` : null;
  const found = useData<Table>(key && `${key} ${turn}`, (signal) => table(kind!, { namespace, at: cursor.at, labels, limit: PAGE }, signal));
  const spaces = useData("spaces", (signal) => gql<{ objects: { nodes: { name: string }[] } }>('{ objects(resource: "namespaces", first: 1000) { nodes { name } } }', {}, signal).catch(() => ({ objects: { nodes: [] } })));

  useEffect(() => {
    if (!cursor.live || !kind) return;
    let timer = 0;
    const stop = feed.listen((events) => {
      if (!timer && events.some((event) => event.resource === kind.resource)) timer = window.setTimeout(() => { timer = 0; setTurn((one) => one + 1); }, 400); // prettier-ignore
    });
    return () => { stop(); window.clearTimeout(timer); }; // prettier-ignore
  }, [cursor.live, kind]);

  const data = found.data;
  const more = extra?.key === key ? extra : undefined;
  const next = more ? more.next : data?.metadata.continue;
  const columns = useMemo(() => (data?.columnDefinitions ?? []).map((column, at) => ({ ...column, at })).filter((column) => column.priority === 0), [data]);
  const rows = useMemo(() => {
    const all = [...(data?.rows ?? []), ...(more?.rows ?? [])].filter((row) => !text || row.object.metadata.name.includes(text));
    if (!sort) return all;
    const value = (row: TableRow): string | number => {
      const column = data?.columnDefinitions[sort.at];
      if (column?.name === "Age") return -Date.parse(row.object.metadata.creationTimestamp ?? "") || 0;
      const cell = row.cells[sort.at];
      return typeof cell === "number" ? cell : String(cell ?? "");
    };
    return [...all].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true });
      return sort.down ? -order : order;
    });
  }, [data, more, text, sort]);
  useActions(useMemo(() => [], []));

  const leading = useMemo(() => {
    const known = kinds ?? [];
    const first = LEADING.map((name) => known.find((one) => one.resource === name)).filter((one) => one !== undefined);
    return { first, rest: known.filter((one) => !LEADING.includes(one.resource) && one.verbs.includes("list")).sort((a, b) => a.kind.localeCompare(b.kind)) };
  }, [kinds]);

  return (
    <>
      <div className="bar">
        <select className="field" aria-label="Kind" value={kind?.resource ?? ""} onChange={(changed) => set({ kind: changed.target.value, labels: null, name: null })}>
          {kind ? null : <option value="">{word}</option>}
          <optgroup label="Most used">{leading.first.map((one) => <option key={one.resource} value={one.resource}>{one.kind}</option>)}</optgroup>
          <optgroup label="All others">{leading.rest.map((one) => <option key={one.resource} value={one.resource}>{one.kind} — {one.resource}</option>)}</optgroup>
        </select>
        {kind?.namespaced === false ? null : (
          <select className="field" aria-label="Namespace" value={namespace} onChange={(changed) => set({ ns: changed.target.value })}>
            <option value="">all namespaces</option>
            {spaces.data?.objects.nodes.map((one) => <option key={one.name}>{one.name}</option>)}
          </select>
        )}
        <input id="filter" className="field grow" style={{ maxWidth: 260 }} placeholder="name contains…" aria-label="Name contains" value={text} onChange={(changed) => set({ name: changed.target.value }, true)} />
        <input className="field mono" style={{ maxWidth: 220 }} placeholder="app=web,tier!=db" aria-label="Labels" defaultValue={labels} key={labels} onKeyDown={(pressed) => { if (pressed.key === "Enter") set({ labels: pressed.currentTarget.value.trim() }); }} />
        <span className="faint num">{data ? `${rows.length}${next ? ` of ${rows.length + (data.metadata.remainingItemCount ?? 0)}` : ""}` : ""}</span>
        {kind ? <Link className="button small" href={to("/t", { q: `kind:${kind.kind}${namespace ? ` ns:${namespace}` : ""}` })}>On the timeline</Link> : null}
      </div>
      {kinds && !kind ? <Empty title={`There is no kind "${word}" here`} actions={<button type="button" className="button primary" onClick={() => set({ kind: "pods" })}>Pods</button>} />
        : found.fault ? <FaultScreen fault={found.fault} again={found.again} />
        : !data || !kind ? <Skeleton lines={10} />
        : rows.length ? (
          <Rows
            rows={rows} columns={columns} kind={kind} namespaced={kind.namespaced && !namespace} sort={sort}
            order={(at) => setSort((before) => (before?.at === at ? (before.down ? undefined : { at, down: true }) : { at, down: false }))}
            more={next ? () => void table(kind, { namespace, at: cursor.at, labels, limit: PAGE, next }).then((page) => setExtra((before) => ({ key: key!, rows: [...(before?.key === key ? before.rows : []), ...page.rows], next: page.metadata.continue }))) : undefined}
          />
        ) : (
          <Empty title={`No ${kind.resource.split(".")[0] ?? ""} ${cursor.live ? "here" : "at this moment"}`} actions={<>{text || labels ? <button type="button" className="button" onClick={() => set({ name: null, labels: null })}>Clear the filters</button> : null}{namespace ? <button type="button" className="button" onClick={() => set({ ns: null })}>All namespaces</button> : null}</>}>
            The timeline also finds those that are gone.
          </Empty>
        )}
    </>
  );
}

function Rows(props: { rows: readonly TableRow[]; columns: readonly { name: string; at: number; description: string; type: string }[]; kind: Kind; namespaced: boolean; sort: { at: number; down: boolean } | undefined; order: (at: number) => void; more: (() => void) | undefined }): JSX.Element {
  const { rows, columns, kind, sort, more } = props;
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(800);
  const first = Math.max(0, Math.floor(top / ROW) - 10);
  const last = Math.min(rows.length, first + Math.ceil(height / ROW) + 20);
  return (
    <div className="tablebox" tabIndex={0} role="region" aria-label={`${kind.kind} table`} onScroll={(scrolled) => {
      const box = scrolled.currentTarget;
      setTop(box.scrollTop);
      setHeight(box.clientHeight);
      if (box.scrollTop + box.clientHeight > box.scrollHeight - 300) more?.();
    }}>
      <table className="table" aria-rowcount={rows.length}>
        <thead>
          <tr>
            {props.namespaced ? <th scope="col">Namespace</th> : null}
            {columns.map((column) => (
              <th key={column.at} scope="col" aria-sort={sort?.at === column.at ? (sort.down ? "descending" : "ascending") : "none"} title={column.description}>
                <button type="button" onClick={() => props.order(column.at)}>{column.name}{sort?.at === column.at ? (sort.down ? " ↓" : " ↑") : ""}</button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {first > 0 ? <tr aria-hidden="true" style={{ height: first * ROW }}><td colSpan={columns.length + 1} style={{ border: 0, padding: 0 }} /></tr> : null}
          {rows.slice(first, last).map((row) => {
            const { name, namespace = "", uid } = row.object.metadata;
            const path = to(objectPath({ resource: kind.resource, namespace, name }));
            return (
              <tr key={uid} style={{ height: ROW, cursor: "pointer" }} onClick={() => go(path)}>
                {props.namespaced ? <td className="soft">{namespace}</td> : null}
                {columns.map((column, place) => (
                  <td key={column.at} className={column.type === "integer" || column.type === "number" ? "num" : ""} style={{ whiteSpace: "nowrap" }}>
                    {place === 0 ? <Link href={path} onClick={(clicked) => clicked.stopPropagation()}>{name}</Link> : <Cell value={row.cells[column.at]} column={column.name} />}
                  </td>
                ))}
              </tr>
            );
          })}
          {last < rows.length ? <tr aria-hidden="true" style={{ height: (rows.length - last) * ROW }}><td colSpan={columns.length + 1} style={{ border: 0, padding: 0 }} /></tr> : null}
        </tbody>
      </table>
    </div>
  );
}

const BAD = /BackOff|Err|Failed|NotReady|Evicted|OOM|Unknown|Lost|Invalid/;

function Cell({ value, column }: { value: string | number | boolean | null | undefined; column: string }): JSX.Element {
  const text = value === null || value === undefined ? "" : String(value);
  if ((column === "Status" || column === "Phase") && BAD.test(text)) return <span className="bad">✕ {text}</span>;
  if (text === "<none>" || text === "<unset>") return <span className="faint">{text}</span>;
  return <>{text}</>;
}
