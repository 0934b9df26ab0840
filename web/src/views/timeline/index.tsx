// The timeline: lanes over time, the cursor through them, and the arrows of Why and Then.
import { useCallback, useEffect, useMemo, useRef, useState, type JSX } from "react";
import { feed, useLive } from "../../api/live";
import type { Lane, Mark, Timeline as Data } from "../../api/timeline";
import { isPerson, partsOf } from "../../model/events";
import { now as serverNow } from "../../state/clock";
import { gapsOf, type Gap } from "../../model/scale";
import { withTerm } from "../../model/filter";
import { dayTime, parseEnd, span } from "../../model/time";
import { goLive, moveTo, remember, useCursor } from "../../state/cursor";
import { useActions, type Action } from "../../state/keys";
import { addressOf, go, objectPath, set, to, useRoute } from "../../state/route";
import { Filter } from "../../ui/filter";
import { Empty, FaultScreen, Skeleton, STATE_WORDS } from "../../ui/parts";
import { toast } from "../../ui/toast";
import { exportEvents } from "../export";
import { Stage, type StageHandle } from "./canvas";
import { useExtra, useTimeline, type Range } from "./data";
import { Drawer } from "./drawer";
import { instants, rowsOf } from "./rows";
import { useStory } from "./story";
import { TableTwin } from "./twin";

export const HOUR = 3_600_000;
const RANGES: [string, string][] = [["now-5m", "5 min"], ["now-15m", "15 min"], ["now-1h", "1 h"], ["now-6h", "6 h"], ["now-1d", "1 d"], ["now-7d", "7 d"]];
const LENGTH_MS_MIN = 20;
const LENGTH_MS_MAX = 400 * 86_400_000;
const NO_LANES: readonly Lane[] = [];

function rangeOf(query: URLSearchParams, now: number): Range {
  const toText = query.get("to");
  const end = toText ? parseEnd(toText, now) : undefined;
  const start = parseEnd(query.get("from") ?? "now-1h", now) ?? now - HOUR;
  const last = end ?? now;
  return { from: Math.min(start, last - LENGTH_MS_MIN), to: last, follow: end === undefined };
}

export default function TimelineView(): JSX.Element {
  const { query } = useRoute();
  const live = useLive();
  const cursor = useCursor();
  const q = query.get("q") ?? "";
  const group = query.get("group") ?? "owner";
  const selected = query.get("sel") ?? "";
  const event = Number(query.get("ev") ?? 0);
  const tab = query.get("tab") ?? "change";
  const [now, setNow] = useState(serverNow());
  // Where the view is while it moves; the address follows when it has come to rest.
  const [moving, setMoving] = useState<{ from: number; to: number }>();
  const range: Range = useMemo(() => (moving ? { ...moving, follow: false } : rangeOf(query, now)), [query, moving, now]);
  const picture = useTimeline(range, q, group);
  const [folded, setFolded] = useState<ReadonlySet<string>>(new Set());
  const [marked, setMarked] = useState<[number, number]>();
  const stage = useRef<StageHandle>(null);
  const story = useStory(tab, event);
  const pins = useMemo(() => (query.get("pin") ?? "").split(",").filter(Boolean), [query]);

  useEffect(() => {
    if (!range.follow) return;
    const timer = window.setInterval(() => setNow(serverNow()), 1000);
    return () => window.clearInterval(timer);
  }, [range.follow]);
  useEffect(() => feed.listen(() => setNow(serverNow())), []);

  const data = picture.data;
  const lanes = data?.lanes ?? NO_LANES;
  const known = useMemo(() => new Map(lanes.map((lane) => [lane.id, lane])), [lanes]);
  // What the story needs and the page has not.
  const missing = useMemo(() => {
    const uids = new Set(lanes.flatMap((lane) => lane.uids));
    return [...new Set((story.data?.events ?? []).map((one) => one.uid))].filter((uid) => !uids.has(uid)).slice(0, 60);
  }, [lanes, story.data]);
  const extra = useExtra(missing, range);
  const pinned = useMemo(() => {
    const chosen = pins.map((id) => known.get(id)).filter((lane) => lane !== undefined);
    return [...chosen, ...extra.filter((lane) => !known.has(lane.id))];
  }, [pins, known, extra]);
  const rows = useMemo(() => rowsOf(lanes, folded, pinned), [lanes, folded, pinned]);
  const seams: Gap[] = useMemo(() => (data ? gapsOf([...instants(lanes), ...busy(data)], range.from, Math.min(range.to, now)) : []), [data, lanes, range.from, range.to, now]);
  // Folding is worth it only where the quiet would be most of what is seen.
  const gaps = useMemo(() => seams.filter((gap) => gap.end - gap.start > 30_000 || range.to - range.from < 120_000), [seams, range.from, range.to]);

  // A story that reaches further back than the view is shown whole.
  useEffect(() => {
    const events = story.data?.events ?? [];
    if (!events.length) return;
    const times = events.map((one) => Date.parse(one.time));
    const [first, last] = [Math.min(...times), Math.max(...times)];
    events.forEach((one) => remember(one.revision, Date.parse(one.time)));
    if (first < range.from || last > range.to) {
      const margin = Math.max(2000, (Math.max(last, range.to) - Math.min(first, range.from)) * 0.06);
      set({ from: iso(Math.min(first, range.from) - margin), to: range.follow ? null : iso(Math.max(last, range.to) + margin) }, true);
    }
    // Only when another story is told.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [story.data]);

  const settle = useRef(0);
  const zoom = useCallback((from: number, to_: number) => {
    const length = Math.min(LENGTH_MS_MAX, Math.max(LENGTH_MS_MIN, to_ - from));
    const end = Math.min(to_, serverNow() + length * 0.2);
    setMarked(undefined);
    setMoving({ from: end - length, to: end });
    window.clearTimeout(settle.current);
    settle.current = window.setTimeout(() => {
      set({ from: iso(end - length), to: iso(end) }, true);
      setMoving(undefined);
    }, 160);
  }, []);

  const select = useCallback((lane: string) => set({ sel: lane, ev: null, tab: tab === "history" || tab === "suspects" ? tab : "suspects" }), [tab]);
  const pick = useCallback(
    (lane: Lane, mark: Mark | undefined, time: number) => {
      if (mark) {
        remember(mark.revision, mark.time);
        set({ sel: lane.id, ev: mark.revision, at: mark.revision, tab: ["why", "then"].includes(tab) ? tab : "change" });
      } else if (time < serverNow()) set({ ...(lane.id ? { sel: lane.id } : {}), at: iso(time) });
    },
    [tab],
  );
  const fold = useCallback((id: string) => setFolded((before) => {
    const next = new Set(before);
    if (!next.delete(id)) next.add(id);
    return next;
  }), []); // prettier-ignore

  const step = useCallback((by: number) => {
    const place = rows.findIndex((row) => row.lane?.id === selected);
    for (let at = place + by; at >= 0 && at < rows.length; at += by) {
      const lane = rows[at]!.lane;
      if (lane) {
        select(lane.id);
        stage.current?.reveal(at);
        return;
      }
    }
  }, [rows, selected, select]); // prettier-ignore
  const hop = useCallback((by: number) => {
    const lane = known.get(selected) ?? pinned.find((one) => one.id === selected);
    if (!lane) return;
    const at = event || cursor.revision || Infinity;
    const found = by > 0 ? lane.marks.find((mark) => mark.revision > at) : lane.marks.findLast((mark) => mark.revision < at);
    if (found) pick(lane, found, found.time);
  }, [known, pinned, selected, event, cursor.revision, pick]); // prettier-ignore

  const list: Action[] = useMemo(() => {
    const length = range.to - range.from;
    const chosen = partsOf(selected);
    const place = objectPath(chosen);
    const none = selected ? undefined : "choose a lane first";
    const noEvent = event ? undefined : "choose an event first";
    const owner = lanes[known.get(selected)?.parent ?? -1];
    return [
      { id: "t.next", label: "Next lane", keys: "j|ArrowDown", run: () => step(1), group: "Timeline" },
      { id: "t.previous", label: "Previous lane", keys: "k|ArrowUp", run: () => step(-1), group: "Timeline" },
      { id: "t.left", label: "Pan to the past", keys: "h|a|ArrowLeft", run: () => zoom(range.from - length / 5, range.to - length / 5), group: "Timeline" },
      { id: "t.right", label: "Pan to the present", keys: "l|d|ArrowRight", run: () => zoom(range.from + length / 5, range.to + length / 5), group: "Timeline" },
      { id: "t.in", label: "Zoom in", keys: "+|=", run: () => zoom(range.from + length / 5, range.to - length / 5), group: "Timeline" },
      { id: "t.out", label: "Zoom out", keys: "-", run: () => zoom(range.from - length / 3, range.to + length / 3), group: "Timeline" },
      { id: "t.fit", label: "Fit everything that is shown", keys: "f", run: () => { const times = instants(lanes); if (times.length) { const [a, b] = [Math.min(...times), Math.max(...times)]; const room = Math.max(1000, (b - a) * 0.05); zoom(a - room, b + room); } }, group: "Timeline" },
      { id: "t.hop", label: "Next event on the lane", keys: ".", run: () => hop(1), disabled: none, group: "Timeline" },
      { id: "t.back", label: "Previous event on the lane", keys: ",", run: () => hop(-1), disabled: none, group: "Timeline" },
      { id: "t.why", label: "Why? The chain of causes", keys: "w", run: () => set({ tab: "why" }), disabled: noEvent, group: "Timeline" },
      { id: "t.then", label: "Then? What came of it", keys: "shift-w", run: () => set({ tab: "then" }), disabled: noEvent, group: "Timeline" },
      { id: "t.suspects", label: "Suspects: what changed before it broke", keys: "s", run: () => set({ tab: "suspects" }), disabled: none, group: "Timeline" },
      { id: "t.pin", label: "Pin the lane, or let it go", keys: "p", run: () => set({ pin: (pins.includes(selected) ? pins.filter((one) => one !== selected) : [...pins, selected]).join(",") || null }), disabled: none, group: "Timeline" },
      { id: "t.owner", label: "Go to its owner", keys: "o", run: () => { if (owner) select(owner.id); }, disabled: owner ? undefined : "it has no owner here", group: "Timeline" },
      { id: "t.manifest", label: "Open its manifest", keys: "y", run: () => go(to(place)), disabled: none, group: "Timeline" },
      { id: "t.diff", label: "Open its diff", keys: "x", run: () => go(to(place, { tab: "diff", b: event || null })), disabled: none, group: "Timeline" },
      { id: "t.only", label: "Show only what belongs to it", run: () => set({ q: withTerm(q, "owner", `${chosen.resource}/${chosen.name}`), ns: chosen.namespace || null }), disabled: none, group: "Timeline" },
      { id: "t.close", label: "Close the details", keys: "esc", run: () => { setMarked(undefined); set({ sel: null, ev: null, tab: null }); }, group: "Timeline" },
    ];
  }, [range, selected, event, lanes, known, step, zoom, hop, pins, select, q]); // prettier-ignore
  useActions(list);

  const counts = data ? { ...data.histogram, from: data.from, to: data.to } : undefined;
  const from = dayTime(range.from);
  return (
    <>
      <div className="bar">
        <Filter value={q} apply={(text) => set({ q: text })} />
        <label className="row soft">by
          <select className="field" aria-label="Group lanes by" value={group} onChange={(changed) => set({ group: changed.target.value === "owner" ? null : changed.target.value })}>
            <option value="owner">owner</option><option value="kind">kind</option><option value="node">node</option>
          </select>
        </label>
        <div className="transport" role="group" aria-label="Range">
          {RANGES.map(([value, label]) => (
            <button key={value} type="button" aria-pressed={(query.get("from") ?? "now-1h") === value && !query.get("to")} onClick={() => set({ from: value === "now-1h" ? null : value, to: null })} style={{ padding: "0 8px" }}>{label}</button>
          ))}
        </div>
      </div>
      <div className="timeline">
        <div className="lanes">
          <Stage
            rows={rows} range={range} gaps={gaps} counts={counts} cursor={cursor.live ? undefined : (cursor.time ?? undefined)} selected={selected} event={event}
            arrows={story.data?.arrows ?? []} horizon={data && data.horizon > 1 && data.low <= data.horizon ? data.from : undefined} select={select} pick={pick} fold={fold} zoom={zoom} area={setMarked}
            marked={marked} nearEnd={() => picture.more?.()} stage={stage}
            corner={<><span>{from}{range.follow ? " – now" : ` – ${dayTime(range.to)}`}</span><span className="faint">{span(range.to - range.from)}{data ? ` · ${data.total} lanes` : ""}{picture.loading ? " · loading" : ""}</span></>}
          />
          {marked && data ? <AreaBox area={marked} data={data} q={q} close={() => setMarked(undefined)} zoom={zoom} /> : null}
          <Overlay picture={picture} q={q} range={range} />
          <div className="status">
            <Legend />
            <span className="grow" />
            {data?.hidden ? <span>{data.hidden} objects hidden: you may not list them</span> : null}
            {data?.notes.map((note) => <span key={note}>{note}</span>)}
            {data?.cuts.map((cut) => <span key={cut}>{cut}</span>)}
            <span className="num">{live.connection === "live" && range.follow ? `following` : ""}</span>
          </div>
          {data ? <TableTwin lanes={lanes} pick={pick} /> : null}
        </div>
        {selected ? <Drawer lane={selected} event={event} tab={tab} story={story} at={cursor.at} /> : null}
      </div>
    </>
  );
}

function iso(time: number): string {
  return new Date(Math.round(time)).toISOString();
}

/** Instants at which people or trouble were about, though no lane of this page may show it. */
function busy(data: Data): number[] {
  const { people, warnings } = data.histogram;
  const step = (data.to - data.from) / people.length;
  return people.flatMap((count, place) => (count || warnings[place] ? [data.from + step * place, data.from + step * (place + 1)] : []));
}

function Overlay({ picture, q, range }: { picture: ReturnType<typeof useTimeline>; q: string; range: Range }): JSX.Element | null {
  const { data, fault, loading } = picture;
  const veil = { position: "absolute", inset: "73px 0 30px 0", display: "grid", background: "var(--bg)", zIndex: 5, overflow: "auto" } as const;
  if (fault) return <div style={veil}><FaultScreen fault={fault} again={picture.again} /></div>;
  if (!data) return <div style={veil}><Skeleton lines={12} /></div>;
  if (data.lanes.length || loading) return null;
  const before = data.lastBefore;
  return (
    <div style={veil}>
      <Empty
        title={q ? "Nothing here matches the filter" : "Nothing happened in this range"}
        actions={
          <>
            {before ? <button type="button" className="button primary" onClick={() => set({ from: iso(Date.parse(before.time) - HOUR), to: iso(Date.parse(before.time) + 60_000) })}>Go to the last event, {dayTime(before.time)}</button> : null}
            {q ? <button type="button" className="button" onClick={() => set({ q: null })}>Clear the filter</button> : null}
            {range.to - range.from < 86_400_000 ? <button type="button" className="button" onClick={() => set({ from: "now-1d", to: null })}>Look at the last day</button> : null}
          </>
        }
      >
        {data.hidden ? `${data.hidden} objects are here that you may not list.` : q ? `Loosen it: take away a term, or look at a longer range.` : null}
      </Empty>
    </div>
  );
}

function Legend(): JSX.Element {
  const styles: Record<string, React.CSSProperties> = {
    running: { background: "var(--running)" }, progressing: { background: "color-mix(in srgb, var(--progressing) 55%, transparent)", borderBottom: "2px solid var(--progressing)" },
    waiting: { border: "1.5px dotted var(--waiting)" }, failed: { background: "var(--failed)", borderLeft: "3px solid var(--failed-ink)" }, ended: { border: "1px dashed var(--ended)" },
    unknown: { background: "repeating-linear-gradient(45deg, transparent 0 2px, var(--unknown) 2px 4px)" },
  }; // prettier-ignore
  return (
    <div className="legend" aria-hidden="true">
      {Object.entries(styles).map(([state, style]) => <span key={state} className="badge"><i className="swatch" style={style} />{STATE_WORDS[state as keyof typeof STATE_WORDS]}</span>)}
      <span className="badge who person"><i className="glyph" />a person</span>
    </div>
  );
}

function AreaBox({ area, data, q, close, zoom }: { area: [number, number]; data: Data; q: string; close: () => void; zoom: (from: number, to: number) => void }): JSX.Element {
  const [from, to_] = area;
  const summary = useMemo(() => {
    const [actors, kinds] = [new Map<string, { count: number; person: boolean }>(), new Map<string, number>()];
    let warnings = 0;
    for (const lane of data.lanes) {
      for (const mark of lane.marks) {
        if (mark.time < from || mark.time > to_) continue;
        if (mark.kind === "warning") { warnings += 1; continue; } // prettier-ignore
        const known = actors.get(mark.actor.name);
        actors.set(mark.actor.name, { count: (known?.count ?? 0) + mark.count, person: isPerson(mark.actor.kind) });
        kinds.set(lane.kind, (kinds.get(lane.kind) ?? 0) + mark.count);
      }
    }
    const order = [...actors].sort(([, a], [, b]) => Number(b.person) - Number(a.person) || b.count - a.count);
    return { actors: order.slice(0, 8), kinds: [...kinds].sort(([, a], [, b]) => b - a).slice(0, 8), warnings };
  }, [data, from, to_]);
  return (
    <div className="areabox stack" style={{ right: 12, top: 84 }} role="dialog" aria-label="The chosen stretch">
      <div className="row"><strong className="grow">{span(to_ - from)} from {dayTime(from)}</strong><button type="button" className="button quiet small" aria-label="Close" onClick={close}>✕</button></div>
      <h3>Who</h3>
      <ul>{summary.actors.map(([name, one]) => <li key={name} className="row"><span className={`grow who ${one.person ? "person" : ""}`}><span className="glyph" aria-hidden="true" />{name}</span><span className="num soft">{one.count}</span></li>)}</ul>
      <h3>What</h3>
      <p className="soft">{summary.kinds.map(([kind, count]) => `${kind} ${count}`).join(" · ") || "nothing"}</p>
      {summary.warnings ? <p className="bad">▲ {summary.warnings} warnings</p> : null}
      <div className="row wrap">
        <button type="button" className="button small primary" onClick={() => zoom(from, to_)}>Zoom here</button>
        <button type="button" className="button small" onClick={() => { exportEvents(from, to_, q).then((count) => toast(`${count} events exported`), (error: unknown) => toast(String(error), { bad: true })); }}>Export events</button>
        <button type="button" className="button small" onClick={() => void navigator.clipboard.writeText(new URL(addressOf("/t", new URLSearchParams(), { from: iso(from), to: iso(to_), q }), window.location.href).href).then(() => toast("Link copied"))}>Copy link</button>
      </div>
      <p className="faint">For a bundle that opens elsewhere: <code>ksql export --from {new Date(from).toISOString()} --to {new Date(to_).toISOString()} incident.ksql</code></p>
    </div>
  );
}

export { goLive, moveTo };
