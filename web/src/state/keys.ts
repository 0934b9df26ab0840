// Keys: one table from which the help, the palette and the tooltips are made. Ignored while somebody types.
import { useEffect } from "react";

export interface Action {
  id: string;
  label: string;
  keys?: string; // one key, or two one after the other: "g t"
  run: () => void;
  disabled?: string | undefined; // why it cannot be done now
  group?: string;
}

const registered = new Map<symbol, readonly Action[]>();
const watchers = new Set<() => void>();

export function actions(): Action[] {
  const found = new Map<string, Action>();
  for (const list of registered.values()) for (const action of list) found.set(action.id, action);
  return [...found.values()];
}

/** Offer actions for as long as the calling view is shown. */
export function useActions(list: readonly Action[]): void {
  useEffect(() => {
    const mine = Symbol("actions");
    registered.set(mine, list);
    watchers.forEach((watcher) => watcher());
    return () => {
      registered.delete(mine);
    };
  }, [list]);
}

const CHORD_MS = 1200;
let chord = "";
let chordAt = 0;

export function nameOf(event: { key: string; shiftKey: boolean }): string {
  if (event.key === " ") return "space";
  if (event.key.length === 1 && /[a-z]/i.test(event.key)) return event.shiftKey ? `shift-${event.key.toLowerCase()}` : event.key.toLowerCase();
  return event.key === "Escape" ? "esc" : event.key;
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName));
}

export function press(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const key = nameOf(event);
  if (isTyping(event.target) && key !== "esc") return;
  // A focused button or tab has uses of its own for these.
  if (key === "space" && event.target instanceof HTMLElement && event.target.closest("button, a, [role=tab], [role=option], summary")) return;
  const pair = chord && event.timeStamp - chordAt < CHORD_MS ? `${chord} ${key}` : key;
  const all = actions();
  const matching = (name: string): Action | undefined => all.findLast((one) => one.keys?.split("|").includes(name));
  const found = matching(pair) ?? matching(key);
  chord = "";
  if (found && !found.disabled) {
    event.preventDefault();
    found.run();
  } else if (all.some((action) => action.keys?.startsWith(`${key} `))) {
    chord = key;
    chordAt = event.timeStamp;
  }
}
