// The palette knows every action that can be done here, with its key; and any kind can be gone to by name.
import { useId, useMemo, useState, type JSX } from "react";
import { actions, type Action } from "../state/keys";
import { Dialog } from "./dialog";

/** How well a text fits what was typed: all its letters in order, the closer together the better; 0: not at all. */
export function score(text: string, typed: string): number {
  if (!typed) return 1;
  const [low, wanted] = [text.toLowerCase(), typed.toLowerCase()];
  const whole = low.indexOf(wanted);
  if (whole >= 0) return 100 - whole + (whole === 0 ? 50 : 0);
  let [at, gaps] = [-1, 0];
  for (const letter of wanted) {
    const found = low.indexOf(letter, at + 1);
    if (found < 0) return 0;
    gaps += found - at - 1;
    at = found;
  }
  return Math.max(1, 40 - gaps);
}

const SHOWN_MAX = 60;

export function Palette({ close, extra }: { close: () => void; extra: readonly Action[] }): JSX.Element {
  const [typed, setTyped] = useState("");
  const [at, setAt] = useState(0);
  const list = useId();
  const all = useMemo(() => [...actions(), ...extra], [extra]);
  const found = useMemo(
    () =>
      all
        .map((action) => ({ action, score: score(action.label, typed) }))
        .filter((one) => one.score > 0)
        .sort((a, b) => b.score - a.score)
        .slice(0, SHOWN_MAX)
        .map((one) => one.action),
    [all, typed],
  );
  const chosen = Math.min(at, found.length - 1);
  const run = (action: Action | undefined): void => {
    if (!action || action.disabled) return;
    close();
    action.run();
  };
  return (
    <Dialog label="Commands" close={close} className="palette">
      <input
        className="field" autoFocus placeholder="What do you want to do? Or a kind: deploy, po, cm…" aria-label="Command" role="combobox"
        aria-expanded="true" aria-controls={list} aria-activedescendant={`${list}-${chosen}`} value={typed}
        onChange={(event) => { setTyped(event.target.value); setAt(0); }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") { event.preventDefault(); setAt(Math.min(chosen + 1, found.length - 1)); }
          if (event.key === "ArrowUp") { event.preventDefault(); setAt(Math.max(chosen - 1, 0)); }
          if (event.key === "Enter") { event.preventDefault(); run(found[chosen]); }
        }}
      />
      <div className="options" role="listbox" id={list} aria-label="Commands">
        {found.map((action, place) => (
          <button key={action.id} id={`${list}-${place}`} type="button" role="option" aria-selected={place === chosen} className="option" disabled={Boolean(action.disabled)} title={action.disabled} onClick={() => run(action)} onMouseMove={() => setAt(place)} tabIndex={-1}>
            <span>{action.label}{action.disabled ? <span className="faint"> — {action.disabled}</span> : null}</span>
            <span className="row">{action.keys?.split("|")[0]?.split(" ").map((key) => <kbd key={key} className="key">{key}</kbd>)}</span>
          </button>
        ))}
        {found.length ? null : <p className="soft" style={{ padding: 12 }}>Nothing is called that. Clear the box to see everything.</p>}
      </div>
    </Dialog>
  );
}
