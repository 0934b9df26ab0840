// The stage: a ruler, names and one canvas, drawn when something moved and at no other time.
import { memo, useCallback, useEffect, useImperativeHandle, useLayoutEffect, useMemo, useRef, useState, type JSX, type Ref } from "react";
import type { Lane, Mark } from "../../api/timeline";
import { isPerson } from "../../model/events";
import { Scale, type Gap } from "../../model/scale";
import { clockTime, span } from "../../model/time";
import { now as serverNow } from "../../state/clock";
import { ROW, nearest, paint, paintRuler, themeOf, type Arrow, type Bars, type Row, type Theme } from "./paint";

export const RULER = 72;
const DRAG_PX = 4;
const AROUND_MS = 2000;

export interface StageProps {
  rows: readonly Row[];
  range: { from: number; to: number };
  gaps: readonly Gap[];
  counts: Bars | undefined;
  cursor: number | undefined;
  selected: string;
  event: number;
  arrows: readonly Arrow[];
  horizon: number | undefined;
  corner: JSX.Element;
  select: (lane: string) => void;
  pick: (lane: Lane, mark: Mark | undefined, time: number) => void;
  fold: (lane: string) => void;
  zoom: (from: number, to: number) => void;
  area: (area: [number, number] | undefined) => void;
  marked: readonly [number, number] | undefined;
  nearEnd: () => void;
  stage: Ref<StageHandle>;
}

export interface StageHandle {
  width: () => number;
  reveal: (place: number) => void;
}

interface Hover {
  x: number;
  y: number;
  lane: Lane;
  time: number;
  marks: Mark[];
}

function useSize(element: React.RefObject<HTMLElement | null>): { width: number; height: number } {
  const [size, setSize] = useState({ width: 800, height: 400 });
  useLayoutEffect(() => {
    const observed = element.current!;
    const measure = (): void => setSize({ width: Math.max(60, observed.clientWidth), height: Math.max(60, observed.clientHeight) });
    const watcher = new ResizeObserver(measure);
    watcher.observe(observed);
    measure();
    return () => watcher.disconnect();
  }, [element]);
  return size;
}

export function Stage(props: StageProps): JSX.Element {
  const { rows, range, gaps, counts, cursor, selected, event, arrows, horizon, marked, stage } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const ruler = useRef<HTMLCanvasElement>(null);
  const theme = useRef<Theme>(null);
  const frame = useRef(0);
  const [names, setNames] = useState(280);
  const box = useSize(scroller);
  const width = Math.max(60, box.width - names);
  const [top, setTop] = useState(0);
  const [hover, setHover] = useState<Hover>();
  const hoverX = useRef<number>(undefined);
  const drag = useRef<{ x: number; from: number; kind: "area" | "pan"; moved: boolean; range: { from: number; to: number } }>(undefined);
  const [dragged, setDragged] = useState<[number, number]>();
  const scale = useMemo(() => new Scale(range.from, range.to, width, gaps), [range.from, range.to, width, gaps]);
  const area = dragged ?? marked;

  useImperativeHandle(stage, () => ({
    width: () => width,
    reveal: (place) => {
      const element = scroller.current!;
      const y = place * ROW;
      if (y < element.scrollTop + ROW) element.scrollTop = Math.max(0, y - 3 * ROW);
      else if (y > element.scrollTop + element.clientHeight - 2 * ROW) element.scrollTop = y - element.clientHeight + 4 * ROW;
    },
  }));

  const scene = useRef<() => void>(() => undefined);
  useEffect(() => {
    scene.current = () => {
      const pen = canvas.current?.getContext("2d");
      const rule = ruler.current?.getContext("2d");
      if (!pen || !rule) return;
      theme.current ??= themeOf(document.documentElement, pen);
      const one = {
        rows, scale, top: scroller.current?.scrollTop ?? 0, height: box.height, width, ratio: window.devicePixelRatio || 1, cursor, now: serverNow(),
        hover: hoverX.current, selected, event, area, arrows, horizon,
      }; // prettier-ignore
      const before = performance.now();
      paint(pen, one, theme.current);
      paintRuler(rule, one, counts, theme.current, RULER);
      frames.push(performance.now() - before);
      if (frames.length > 240) frames.shift();
    };
    draw();
  });
  const draw = useCallback(() => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => scene.current());
  }, []);

  useEffect(() => {
    const light = window.matchMedia("(prefers-color-scheme: light)");
    const change = (): void => {
      theme.current = null;
      draw();
    };
    light.addEventListener("change", change);
    return () => light.removeEventListener("change", change);
  }, [draw]);

  useLayoutEffect(() => {
    const value = getComputedStyle(scroller.current!.parentElement!).getPropertyValue("--names");
    setNames(parseInt(value, 10) || 280);
  }, [box.width]);

  // The wheel must not scroll the page while it zooms, which React's own listener cannot promise.
  const { zoom } = props;
  useEffect(() => {
    const element = scroller.current!;
    const wheel = (turned: WheelEvent): void => {
      const sideways = turned.shiftKey ? turned.deltaY || turned.deltaX : turned.deltaX;
      const length = range.to - range.from;
      if (turned.ctrlKey || turned.metaKey) {
        turned.preventDefault();
        const at = scale.time(turned.clientX - canvas.current!.getBoundingClientRect().left);
        const factor = Math.exp(turned.deltaY * 0.0022);
        zoom(at - (at - range.from) * factor, at + (range.to - at) * factor);
      } else if (Math.abs(sideways) > Math.abs(turned.shiftKey ? 0 : turned.deltaY)) {
        turned.preventDefault();
        const moved = (sideways / width) * length;
        zoom(range.from + moved, range.to + moved);
      }
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => element.removeEventListener("wheel", wheel);
  }, [range.from, range.to, scale, width, zoom]);

  const laneAt = (clientY: number): { row: Row; place: number } | undefined => {
    const place = Math.floor((clientY - canvas.current!.getBoundingClientRect().top + scroller.current!.scrollTop) / ROW);
    const row = rows[place];
    return row ? { row, place } : undefined;
  };
  const xAt = (clientX: number): number => clientX - canvas.current!.getBoundingClientRect().left;

  const down = (pointer: React.PointerEvent<HTMLCanvasElement>): void => {
    if (pointer.button !== 0) return;
    const x = xAt(pointer.clientX);
    drag.current = { x, from: scale.time(x), kind: pointer.shiftKey || pointer.pointerType === "touch" ? "pan" : "area", moved: false, range };
    pointer.currentTarget.setPointerCapture(pointer.pointerId);
  };
  const move = (pointer: React.PointerEvent<HTMLCanvasElement>): void => {
    const x = xAt(pointer.clientX);
    const held = drag.current;
    hoverX.current = x;
    if (held && (held.moved || Math.abs(x - held.x) > DRAG_PX)) {
      held.moved = true;
      setHover(undefined);
      if (held.kind === "pan") {
        const moved = ((held.x - x) / width) * (held.range.to - held.range.from);
        zoom(held.range.from + moved, held.range.to + moved);
      } else {
        const time = scale.time(x);
        setDragged([Math.min(held.from, time), Math.max(held.from, time)]);
      }
      return;
    }
    if (pointer.currentTarget === ruler.current) {
      draw();
      return;
    }
    const found = laneAt(pointer.clientY)?.row.lane;
    const time = scale.time(x);
    const around = Math.max(AROUND_MS, scale.time(x + 8) - time);
    if (found) setHover({ x: pointer.clientX, y: pointer.clientY, lane: found, time, marks: found.marks.filter((mark) => Math.abs(mark.time - time) <= around).slice(-6) });
    else setHover(undefined);
    draw();
  };
  const up = (pointer: React.PointerEvent<HTMLCanvasElement>): void => {
    const held = drag.current;
    drag.current = undefined;
    if (held?.moved) {
      if (held.kind === "area" && dragged) {
        if (pointer.currentTarget === ruler.current) zoom(dragged[0], dragged[1]);
        else props.area(dragged);
      }
      setDragged(undefined);
      return;
    }
    if (!held) return;
    const x = xAt(pointer.clientX);
    const found = pointer.currentTarget === ruler.current ? undefined : laneAt(pointer.clientY)?.row.lane;
    props.area(undefined);
    if (found) props.pick(found, nearest(found, x, scale), scale.time(x));
    else if (pointer.currentTarget === ruler.current) props.pick(EMPTY_LANE, undefined, scale.time(x));
  };
  const leave = (): void => {
    hoverX.current = undefined;
    setHover(undefined);
    draw();
  };

  const ratio = window.devicePixelRatio || 1;
  const first = Math.max(0, Math.floor(top / ROW) - 4);
  const last = Math.min(rows.length, Math.ceil((top + box.height) / ROW) + 4);
  const { nearEnd } = props;
  return (
    <>
      <div className="ruler">
        <div className="corner">{props.corner}</div>
        <canvas ref={ruler} width={width * ratio} height={RULER * ratio} style={{ width, height: RULER }} role="img" aria-label="How much was written when. Drag to choose a range." onPointerDown={down} onPointerMove={move} onPointerUp={up} onPointerLeave={leave} />
      </div>
      <div
        ref={scroller} className="scroller" tabIndex={0} role="region" aria-label="Lanes"
        onScroll={(scrolled) => {
          setTop(scrolled.currentTarget.scrollTop);
          if (scrolled.currentTarget.scrollTop + box.height > rows.length * ROW - 400) nearEnd();
          draw();
        }}
      >
        <div className="sheet" style={{ height: Math.max(rows.length * ROW, box.height) }}>
          <div className="names">
            {rows.slice(first, last).map((row, offset) => (
              <Name key={row.lane ? row.lane.id : `h ${row.label} ${first + offset}`} row={row} place={first + offset} selected={row.lane?.id === selected} select={props.select} fold={props.fold} />
            ))}
          </div>
          <canvas
            ref={canvas} width={width * ratio} height={box.height * ratio} style={{ width, height: box.height }} role="img"
            aria-label="States of the objects over time; the same as a table is below" onPointerDown={down} onPointerMove={move} onPointerUp={up} onPointerLeave={leave}
          />
        </div>
      </div>
      {hover ? <HoverBox hover={hover} /> : null}
    </>
  );
}

const EMPTY_LANE: Lane = { id: "", parent: -1, depth: 0, kind: "", node: "", uids: [], spans: [], marks: [] };

/** How long the newest frames took, in milliseconds: what the budgets are measured by. */
export const frames: number[] = [];
Object.assign(window, { ksqlFrames: frames });

const Name = memo(function Name({ row, place, selected, select, fold }: { row: Row; place: number; selected: boolean; select: (id: string) => void; fold: (id: string) => void }): JSX.Element {
  const lane = row.lane;
  if (!lane) return <div className="heading" style={{ top: place * ROW }}>{row.label}</div>;
  return (
    <div className={`name ${selected ? "selected" : ""}`} style={{ top: place * ROW, paddingLeft: 4 + row.depth * 14 }}>
      {row.children ? (
        <button type="button" className="fold" aria-label={`${row.folded ? "Unfold" : "Fold"} ${row.label}`} aria-expanded={!row.folded} onClick={() => fold(lane.id)}>{row.folded ? "▸" : "▾"}</button>
      ) : <span className="fold" aria-hidden="true" />}
      <button type="button" className="button quiet small grow" style={{ justifyContent: "flex-start", padding: 0, height: 22, minWidth: 0 }} title={lane.id} onClick={() => select(lane.id)}>
        <span className="kind">{lane.kind}</span>{" "}
        <span className="ellipsis">{row.label}</span>
      </button>
      {lane.node ? <span className="node">{lane.node}</span> : null}
    </div>
  );
});

const WORDS: Record<Mark["kind"], string> = { create: "created it", delete: "deleted it", change: "changed it", status: "reported", warning: "warned" };

function HoverBox({ hover }: { hover: Hover }): JSX.Element {
  const state = hover.lane.spans.findLast((one) => one.start <= hover.time && hover.time <= one.end);
  const left = Math.min(hover.x + 14, window.innerWidth - 380);
  const topPx = hover.y > window.innerHeight - 220 ? hover.y - 24 - 22 * (hover.marks.length + 2) : hover.y + 18;
  return (
    <div className="hoverbox" style={{ left, top: topPx }} role="tooltip">
      <div className="row"><strong className="ellipsis">{hover.lane.kind} {hover.lane.id.split("/").slice(2).join("/")}</strong></div>
      <div className="soft">{clockTime(hover.time)}{state ? ` · ${state.text || state.state} for ${span(Math.min(serverNow(), hover.time) - state.start)}` : ""}</div>
      {hover.marks.map((mark) => (
        <div key={`${mark.revision}${mark.kind}`} className="row">
          <span className="rev faint">r{mark.revision}</span>
          <span className={isPerson(mark.actor.kind) ? "who person" : ""}>{mark.actor.name}</span>
          <span className="ellipsis">{mark.text || (mark.count > 1 ? `${mark.count} changes` : WORDS[mark.kind])}</span>
        </div>
      ))}
    </div>
  );
}
