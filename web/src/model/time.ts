import { now as serverNow } from "../state/clock";

// Times as people read them: in the viewer's zone, short where the day is clear, UTC for whoever looks closer.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

export function clockTime(time: number | string): string {
  return clock.format(new Date(time));
}

export function dayTime(time: number | string, now: number = serverNow()): string {
  const when = new Date(time);
  const today = new Date(now);
  return when.toDateString() === today.toDateString() ? clock.format(when) : `${day.format(when)} ${clock.format(when)}`;
}

export function utc(time: number | string): string {
  return `${new Date(time).toISOString().replace("T", " ").replace("Z", "")} UTC`;
}

/** What a ruler writes at a tick. */
export function tickLabel(time: number, step: number): string {
  const when = new Date(time);
  if (step >= 86_400_000) return day.format(when);
  if (step >= 60_000) return when.getHours() === 0 && when.getMinutes() === 0 ? day.format(when) : minutes.format(when);
  if (step >= 1000) return clock.format(when);
  return `${clock.format(when)}.${String(when.getMilliseconds()).padStart(3, "0")}`;
}

/** How long, in the two largest units. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 1) return `${Math.max(0, Math.round(ms))} ms`;
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min${seconds % 60 && seconds < 600 ? ` ${seconds % 60} s` : ""}`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h${Math.floor((seconds % 3600) / 60) ? ` ${Math.floor((seconds % 3600) / 60)} min` : ""}`;
  return `${Math.floor(seconds / 86_400)} d${Math.floor((seconds % 86_400) / 3600) ? ` ${Math.floor((seconds % 86_400) / 3600)} h` : ""}`;
}

const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** A range's end as the address has it: ISO, milliseconds, now, now-1h. Undefined when it is none of these. */
export function parseEnd(text: string, now: number): number | undefined {
  const relative = /^now(?:-((?:\d+[smhdw])+))?$/.exec(text);
  if (relative) {
    const parts = (relative[1] ?? "").match(/\d+[smhdw]/g) ?? [];
    return now - parts.reduce((sum, part) => sum + parseInt(part, 10) * UNITS[part.slice(-1)]!, 0);
  }
  if (/^\d{12,14}$/.test(text)) return Number(text);
  const time = Date.parse(text);
  return Number.isNaN(time) ? undefined : time;
}
