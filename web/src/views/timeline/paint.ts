// Lanes on one canvas. Pure drawing: what is where is worked out before, so that a frame is only strokes.
import type { Lane, Mark, StateName } from "../../api/timeline";
import { isPerson } from "../../model/events";
import { tickLabel } from "../../model/time";
import { ticks, type Scale } from "../../model/scale";

export const ROW = 22;
const BAR_TOP = 4;
const BAR = 14;
const TEXT_PX_MIN = 34;

export interface Row {
  lane: Lane | null; // null: a heading
  label: string;
  folded: boolean;
  children: number;
  depth: number;
}

export interface Arrow {
  from: { lane: string; time: number };
  to: { lane: string; time: number };
  forward: boolean; // an effect, not a cause
}

export interface Scene {
  rows: readonly Row[];
  scale: Scale;
  top: number; // pixels scrolled
  height: number;
  width: number;
  ratio: number;
  cursor: number | undefined; // undefined while LIVE
  now: number;
  hover: number | undefined;
  selected: string;
  event: number; // the revision in the drawer
  area: readonly [number, number] | undefined;
  arrows: readonly Arrow[];
  horizon: number | undefined; // nothing is known before this instant
}

export interface Theme {
  text: string;
  soft: string;
  faint: string;
  bg: string;
  line: string;
  soft_line: string;
  accent: string;
  amber: string;
  person: string;
  bad: string;
  states: Record<StateName, string>;
  ink: Record<"running" | "failed", string>;
  sans: string;
  patterns: Partial<Record<StateName, CanvasPattern | null>>;
}

const STATES: StateName[] = ["running", "progressing", "waiting", "failed", "ended", "unknown", "present"];

export function themeOf(element: Element, context: CanvasRenderingContext2D): Theme {
  const style = getComputedStyle(element);
  const get = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const states = Object.fromEntries(STATES.map((state) => [state, get(state)])) as Record<StateName, string>;
  return {
    text: get("text"), soft: get("soft"), faint: get("faint"), bg: get("bg"), line: get("line"), soft_line: get("line-soft"), accent: get("accent"),
    amber: get("amber"), person: get("person"), bad: get("bad"), states, sans: get("sans"),
    ink: { running: get("running-ink"), failed: get("failed-ink") },
    patterns: { unknown: hatched(context, states.unknown), waiting: dotted(context, states.waiting) },
  }; // prettier-ignore
}

function tile(size: number, draw: (context: OffscreenCanvasRenderingContext2D) => void): OffscreenCanvas {
  const canvas = new OffscreenCanvas(size, size);
  draw(canvas.getContext("2d")!);
  return canvas;
}

function hatched(context: CanvasRenderingContext2D, colour: string): CanvasPattern | null {
  return context.createPattern(tile(8, (pen) => {
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    for (const at of [-8, 0, 8]) { pen.beginPath(); pen.moveTo(at, 8); pen.lineTo(at + 8, 0); pen.stroke(); }
  }), "repeat"); // prettier-ignore
}

function dotted(context: CanvasRenderingContext2D, colour: string): CanvasPattern | null {
  return context.createPattern(tile(5, (pen) => {
    pen.fillStyle = colour;
    pen.fillRect(1, 1, 2, 2);
  }), "repeat"); // prettier-ignore
}

/** All that is seen of the lanes. */
export function paint(pen: CanvasRenderingContext2D, scene: Scene, theme: Theme): void {
  const { width, height, ratio, scale, rows, top } = scene;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `11px ${theme.sans}`;
  pen.textBaseline = "middle";
  background(pen, scene, theme);
  const first = Math.max(0, Math.floor(top / ROW));
  const last = Math.min(rows.length, Math.ceil((top + height) / ROW) + 1);
  for (let place = first; place < last; place++) {
    const row = rows[place]!;
    const y = place * ROW - top;
    if (row.lane?.id === scene.selected && scene.selected) {
      pen.globalAlpha = 0.1;
      pen.fillStyle = theme.accent;
      pen.fillRect(0, y, width, ROW);
      pen.globalAlpha = 1;
    }
    if (row.lane) {
      bars(pen, row.lane, y, scale, width, theme);
      marks(pen, row.lane, y, scale, width, theme, scene.event);
    } else {
      pen.fillStyle = theme.soft_line;
      pen.fillRect(0, y, width, 1);
    }
  }
  arrows(pen, scene, theme);
  lines(pen, scene, theme);
}

function background(pen: CanvasRenderingContext2D, scene: Scene, theme: Theme): void {
  const { scale, height } = scene;
  pen.fillStyle = theme.soft_line;
  for (const tick of ticks(scale)) pen.fillRect(Math.round(tick.x), 0, 1, height);
  for (const seam of scale.seams) {
    pen.fillStyle = theme.soft_line;
    pen.globalAlpha = 0.7;
    pen.fillRect(seam.x0, 0, seam.x1 - seam.x0, height);
    pen.globalAlpha = 1;
    pen.strokeStyle = theme.line;
    pen.setLineDash([3, 3]);
    for (const x of [seam.x0, seam.x1]) {
      pen.beginPath();
      pen.moveTo(Math.round(x) + 0.5, 0);
      pen.lineTo(Math.round(x) + 0.5, height);
      pen.stroke();
    }
    pen.setLineDash([]);
  }
  if (scene.horizon !== undefined && scene.horizon > scale.from) {
    pen.fillStyle = theme.patterns.unknown ?? theme.soft_line;
    pen.globalAlpha = 0.18;
    pen.fillRect(0, 0, scale.x(scene.horizon), height);
    pen.globalAlpha = 1;
  }
  if (scene.now < scale.to) {
    pen.fillStyle = theme.soft_line;
    pen.globalAlpha = 0.6;
    pen.fillRect(scale.x(scene.now), 0, scene.width, height);
    pen.globalAlpha = 1;
  }
}

function bars(pen: CanvasRenderingContext2D, lane: Lane, y: number, scale: Scale, width: number, theme: Theme): void {
  for (const span of lane.spans) {
    const [x0, x1] = [Math.max(-2, scale.x(span.start)), Math.min(width + 2, scale.x(span.end))];
    if (x1 < 0 || x0 > width) continue;
    const length = Math.max(1.5, x1 - x0 - 0.75);
    const [colour, bar] = [theme.states[span.state], y + BAR_TOP];
    pen.fillStyle = colour;
    switch (span.state) {
      case "present":
        pen.fillRect(x0, y + 9, length, 4);
        continue;
      case "progressing":
        pen.globalAlpha = 0.5;
        pen.fillRect(x0, bar, length, BAR);
        pen.globalAlpha = 1;
        pen.fillRect(x0, bar + BAR - 2, length, 2);
        break;
      case "waiting":
      case "unknown":
        pen.globalAlpha = 0.22;
        pen.fillRect(x0, bar, length, BAR);
        pen.globalAlpha = 1;
        pen.fillStyle = theme.patterns[span.state] ?? colour;
        pen.fillRect(x0, bar, length, BAR);
        break;
      case "ended":
        pen.strokeStyle = colour;
        pen.setLineDash([4, 3]);
        pen.strokeRect(x0 + 0.5, bar + 0.5, length - 1, BAR - 1);
        pen.setLineDash([]);
        break;
      case "failed":
        pen.fillRect(x0, bar, length, BAR);
        pen.fillStyle = theme.ink.failed;
        pen.fillRect(x0, bar, Math.min(3, length), BAR);
        break;
      default:
        pen.fillRect(x0, bar, length, BAR);
    }
    if (span.text && length > TEXT_PX_MIN) label(pen, span.state === "failed" ? `✕ ${span.text}` : span.text, Math.max(0, x0), Math.min(width, x1), bar, span.state, theme);
  }
}

const widths = new Map<string, number>();

function measure(pen: CanvasRenderingContext2D, text: string): number {
  let found = widths.get(text);
  if (found === undefined) {
    if (widths.size > 4000) widths.clear();
    found = pen.measureText(text).width;
    widths.set(text, found);
  }
  return found;
}

function label(pen: CanvasRenderingContext2D, text: string, x0: number, x1: number, y: number, state: StateName, theme: Theme): void {
  if (measure(pen, text) > x1 - x0 - 12) return;
  if (state === "waiting" || state === "unknown") {
    pen.fillStyle = theme.bg;
    pen.globalAlpha = 0.72;
    pen.fillRect(x0 + 4, y + 1, measure(pen, text) + 5, BAR - 2);
    pen.globalAlpha = 1;
  }
  pen.fillStyle = state === "running" ? theme.ink.running : state === "failed" ? theme.ink.failed : theme.text;
  pen.fillText(text, x0 + 6, y + BAR / 2 + 0.5);
}

function marks(pen: CanvasRenderingContext2D, lane: Lane, y: number, scale: Scale, width: number, theme: Theme, event: number): void {
  const middle = y + ROW / 2;
  let status = -9;
  for (const mark of lane.marks) {
    const x = scale.x(mark.time);
    if (x < -8 || x > width + 8) continue;
    if (mark.kind === "status" && mark.revision !== event) {
      // Ticks that would stand on each other are one.
      if (x - status < 2) continue;
      status = x;
      pen.fillStyle = mark.warning ? theme.bad : theme.text;
      pen.globalAlpha = mark.warning ? 0.9 : 0.42;
      pen.fillRect(Math.round(x) - 0.5, y + 5, 1, 12);
      pen.globalAlpha = 1;
      continue;
    }
    sign(pen, mark, x, middle, theme);
    if (mark.revision === event) {
      pen.strokeStyle = theme.text;
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.arc(x, middle, 9, 0, Math.PI * 2);
      pen.stroke();
      pen.lineWidth = 1;
    }
  }
}

function sign(pen: CanvasRenderingContext2D, mark: Mark, x: number, y: number, theme: Theme): void {
  const person = isPerson(mark.actor.kind);
  const colour = mark.kind === "warning" ? theme.amber : person ? theme.person : theme.text;
  const size = person ? 5.5 : 4;
  pen.fillStyle = colour;
  pen.strokeStyle = theme.bg;
  pen.lineWidth = 1.5;
  pen.beginPath();
  switch (mark.kind) {
    case "delete":
      pen.strokeStyle = person ? theme.person : theme.bad;
      pen.lineWidth = 2;
      pen.moveTo(x - 4, y - 4); pen.lineTo(x + 4, y + 4); pen.moveTo(x + 4, y - 4); pen.lineTo(x - 4, y + 4);
      pen.stroke();
      pen.lineWidth = 1;
      return;
    case "warning":
      pen.moveTo(x, y - 5); pen.lineTo(x + 5, y + 4); pen.lineTo(x - 5, y + 4); pen.closePath();
      break;
    case "create":
      pen.arc(x, y, size - 0.5, 0, Math.PI * 2);
      break;
    default:
      pen.moveTo(x, y - size - 1); pen.lineTo(x + size + 1, y); pen.lineTo(x, y + size + 1); pen.lineTo(x - size - 1, y); pen.closePath();
  }
  pen.stroke();
  pen.fill();
  pen.lineWidth = 1;
}

function arrows(pen: CanvasRenderingContext2D, scene: Scene, theme: Theme): void {
  if (!scene.arrows.length) return;
  const places = new Map(scene.rows.map((row, place) => [row.lane?.id ?? "", place]));
  for (const arrow of scene.arrows) {
    const [a, b] = [places.get(arrow.from.lane), places.get(arrow.to.lane)];
    if (a === undefined || b === undefined) continue;
    const [x0, x1] = [scene.scale.x(arrow.from.time), scene.scale.x(arrow.to.time)];
    const [y0, y1] = [a * ROW + ROW / 2 - scene.top, b * ROW + ROW / 2 - scene.top];
    if (Math.max(y0, y1) < -20 || Math.min(y0, y1) > scene.height + 20) continue;
    const bend = Math.max(24, Math.abs(x1 - x0) * 0.45);
    const path = new Path2D();
    path.moveTo(x0, y0);
    path.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1 - 7, y1);
    pen.lineWidth = 4;
    pen.strokeStyle = theme.bg;
    pen.stroke(path);
    pen.lineWidth = 1.75;
    pen.strokeStyle = arrow.forward ? theme.accent : theme.amber;
    if (arrow.forward) pen.setLineDash([6, 3]);
    pen.stroke(path);
    pen.setLineDash([]);
    pen.fillStyle = pen.strokeStyle;
    pen.beginPath();
    pen.moveTo(x1 - 2, y1); pen.lineTo(x1 - 9, y1 - 4.5); pen.lineTo(x1 - 9, y1 + 4.5); pen.closePath();
    pen.fill();
    pen.lineWidth = 1;
  }
}

function lines(pen: CanvasRenderingContext2D, scene: Scene, theme: Theme): void {
  if (scene.area) {
    const [x0, x1] = [scene.scale.x(scene.area[0]), scene.scale.x(scene.area[1])];
    pen.fillStyle = theme.accent;
    pen.globalAlpha = 0.14;
    pen.fillRect(x0, 0, x1 - x0, scene.height);
    pen.globalAlpha = 1;
  }
  if (scene.hover !== undefined) {
    pen.fillStyle = theme.faint;
    pen.globalAlpha = 0.6;
    pen.fillRect(Math.round(scene.hover), 0, 1, scene.height);
    pen.globalAlpha = 1;
  }
  const at = scene.cursor;
  if (at !== undefined) {
    const x = Math.round(scene.scale.x(at));
    // Everything to the right of the cursor has not happened yet.
    pen.fillStyle = theme.bg;
    pen.globalAlpha = 0.45;
    pen.fillRect(x, 0, scene.width - x, scene.height);
    pen.globalAlpha = 1;
    pen.fillStyle = theme.amber;
    pen.fillRect(x - 1, 0, 2, scene.height);
  }
}

export interface Bars {
  writes: readonly number[];
  people: readonly number[];
  deletions: readonly number[];
  warnings: readonly number[];
  from: number;
  to: number;
}

/** The ruler: how much was written when, and what time it is where. */
export function paintRuler(pen: CanvasRenderingContext2D, scene: Scene, counts: Bars | undefined, theme: Theme, height: number): void {
  const { width, ratio, scale } = scene;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = `11px ${theme.sans}`;
  pen.textBaseline = "alphabetic";
  const base = height - 20;
  if (counts) {
    // The root of the count: one write must be seen beside a thousand.
    const most = Math.max(1, ...counts.writes.map(Math.sqrt));
    const step = (counts.to - counts.from) / counts.writes.length;
    counts.writes.forEach((count, place) => {
      if (!count && !counts.warnings[place]) return;
      const [x0, x1] = [scale.x(counts.from + step * place), scale.x(counts.from + step * (place + 1))];
      const tall = (Math.sqrt(count) / most) * (base - 8);
      const wide = Math.max(1.5, x1 - x0 - 1);
      pen.fillStyle = theme.states.present;
      pen.fillRect(x0, base - tall, wide, tall);
      const people = counts.people[place] ?? 0;
      if (people) {
        const share = Math.max(3, (Math.sqrt(people) / most) * (base - 8));
        pen.fillStyle = theme.person;
        pen.fillRect(x0, base - share, wide, share);
      }
      if (counts.warnings[place]) {
        pen.fillStyle = theme.bad;
        pen.beginPath();
        pen.moveTo(x0 + wide / 2, 1); pen.lineTo(x0 + wide / 2 + 4, 7); pen.lineTo(x0 + wide / 2 - 4, 7); pen.closePath();
        pen.fill();
      }
    });
  }
  pen.fillStyle = theme.line;
  pen.fillRect(0, base, width, 1);
  pen.fillStyle = theme.soft;
  for (const tick of ticks(scale)) {
    pen.fillRect(Math.round(tick.x), base, 1, 4);
    pen.fillText(tickLabel(tick.time, tick.step), tick.x + 4, height - 5);
  }
  for (const seam of scale.seams) {
    pen.fillStyle = theme.bg;
    pen.fillRect(seam.x0, 0, seam.x1 - seam.x0, height);
    pen.fillStyle = theme.faint;
    pen.textAlign = "center";
    pen.fillText("⋯", (seam.x0 + seam.x1) / 2, base - 10);
    pen.fillText(shortSpan(seam.t1 - seam.t0), (seam.x0 + seam.x1) / 2, height - 5);
    pen.textAlign = "start";
  }
  if (scene.area) {
    const [x0, x1] = [scale.x(scene.area[0]), scale.x(scene.area[1])];
    pen.fillStyle = theme.accent;
    pen.globalAlpha = 0.2;
    pen.fillRect(x0, 0, x1 - x0, height);
    pen.globalAlpha = 1;
  }
  if (scene.cursor !== undefined) {
    const x = Math.round(scale.x(scene.cursor));
    pen.fillStyle = theme.amber;
    pen.fillRect(x - 1, 0, 2, height);
    pen.beginPath();
    pen.moveTo(x - 6, height); pen.lineTo(x + 6, height); pen.lineTo(x, height - 8); pen.closePath();
    pen.fill();
  }
}

function shortSpan(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} m`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** The mark nearest to a place on a lane, within a finger's width. */
export function nearest(lane: Lane, x: number, scale: Scale, within = 7): Mark | undefined {
  let best: Mark | undefined;
  let distance = within;
  for (const mark of lane.marks) {
    // A diamond stands over the ticks beneath it.
    const away = Math.abs(scale.x(mark.time) - x) + (mark.kind === "status" ? 2 : 0);
    if (away <= distance) [best, distance] = [mark, away];
  }
  return best;
}
