// Toasts: what was done, and for a while the way to take it back or to stop it before it begins.
import { useSyncExternalStore, type JSX } from "react";

interface Toast {
  id: number;
  text: string;
  bad: boolean;
  action?: { label: string; run: () => void };
}

let toasts: readonly Toast[] = [];
let next = 1;
const watchers = new Set<() => void>();
const SHOWN_MS = 9000;

function put(list: readonly Toast[]): void {
  toasts = list;
  watchers.forEach((watcher) => watcher());
}

export function dismiss(id: number): void {
  put(toasts.filter((toast) => toast.id !== id));
}

export function toast(text: string, options: { bad?: boolean; action?: Toast["action"]; ms?: number } = {}): number {
  const id = next++;
  put([...toasts.slice(-3), { id, text, bad: options.bad ?? false, ...(options.action ? { action: options.action } : {}) }]);
  window.setTimeout(() => dismiss(id), options.ms ?? SHOWN_MS);
  return id;
}

export const CHANCE_MS = 5000;

/** Do something after a while in which it can still be stopped. */
export function delayed(text: string, run: () => void): void {
  const timer = window.setTimeout(() => {
    dismiss(id);
    run();
  }, CHANCE_MS);
  const id = toast(text, { ms: CHANCE_MS + 100, action: { label: "Cancel", run: () => window.clearTimeout(timer) } });
}

export function Toasts(): JSX.Element {
  const list = useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => toasts,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {list.map((one) => (
        <div key={one.id} className={`toast ${one.bad ? "bad" : ""}`}>
          <span className="grow">{one.text}</span>
          {one.action ? (
            <button type="button" className="button small" onClick={() => { one.action!.run(); dismiss(one.id); }}>
              {one.action.label}
            </button>
          ) : null}
          <button type="button" className="button quiet small" aria-label="Dismiss" onClick={() => dismiss(one.id)}>
            ✕
          </button>
        </div>
      ))}
    </div>
  );
}
