// The filter box: one grammar everywhere, completed while it is typed, shown as chips once it is said.
import { useEffect, useId, useRef, useState, type JSX } from "react";
import { gql } from "../api/graphql";
import { FIXED, inverted, suggestions, tokens, without, type Known } from "../model/filter";
import { useData } from "../state/data";

interface Words {
  resources: { kind: string; resource: string }[];
  objects: { nodes: { name: string }[] };
  activity: { rows: { name: string }[] };
}

const WORDS = `{ resources { kind resource } objects(resource: "namespaces", first: 500) { nodes { name } } activity(from: "1d") { rows { name } } }`;

/** What the filter's keys can be said to be, here and now. */
export function useKnown(): Known {
  const words = useData<Words>("words", (signal) => gql<Words>(WORDS, {}, signal).catch(() => gql<Words>(WORDS.replace('from: "1d"', 'from: "1m"'), {}, signal)));
  const data = words.data;
  return {
    ...FIXED,
    kind: [...new Set(data?.resources.map((one) => one.kind) ?? [])].sort(),
    ns: data?.objects.nodes.map((one) => one.name) ?? [],
    actor: [...new Set(data?.activity.rows.map((row) => row.name) ?? [])],
  };
}

export function Filter({ value, apply, placeholder }: { value: string; apply: (text: string) => void; placeholder?: string }): JSX.Element {
  const [text, setText] = useState(value);
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const input = useRef<HTMLInputElement>(null);
  const list = useId();
  const known = useKnown();
  useEffect(() => setText(value), [value]);
  const caret = input.current?.selectionStart ?? text.length;
  const { start, end, found } = suggestions(text, caret, known);
  const take = (place: number): void => {
    const chosen = found[place];
    if (!chosen) return;
    const next = text.slice(0, start) + chosen.text + text.slice(end);
    setText(next);
    setAt(-1);
    const place_ = start + chosen.text.length;
    window.requestAnimationFrame(() => input.current?.setSelectionRange(place_, place_));
    if (!chosen.text.endsWith(":")) {
      setOpen(false);
      apply(next.trim());
    }
  };
  const shown = open && found.length > 0;
  return (
    <>
      <div className="filter" onBlur={(event) => { if (!event.currentTarget.contains(event.relatedTarget)) setOpen(false); }}>
        <input
          ref={input} id="filter" className="field" spellCheck={false} autoComplete="off" aria-label="Filter" role="combobox" aria-expanded={shown} aria-controls={list}
          aria-autocomplete="list" aria-activedescendant={shown && at >= 0 ? `${list}-${at}` : undefined}
          placeholder={placeholder ?? "kind:Pod ns:shop actor:alice -kind:Lease web"} value={text}
          onFocus={() => setOpen(true)} onClick={() => setOpen(true)}
          onChange={(event) => { setText(event.target.value); setOpen(true); setAt(-1); }}
          onKeyDown={(event) => {
            if (event.key === "ArrowDown" && shown) { event.preventDefault(); setAt(Math.min(at + 1, found.length - 1)); }
            else if (event.key === "ArrowUp" && shown) { event.preventDefault(); setAt(Math.max(at - 1, -1)); }
            else if (event.key === "Tab" && shown && at >= 0) { event.preventDefault(); take(at); }
            else if (event.key === "Enter") { if (shown && at >= 0) take(at); else { setOpen(false); apply(text.trim()); } }
            else if (event.key === "Escape") { event.stopPropagation(); setOpen(false); if (text !== value) setText(value); else input.current?.blur(); }
          }}
        />
        {shown ? (
          <div className="popover" role="listbox" id={list} aria-label="Suggestions">
            {found.map((one, place) => (
              <button key={one.text} id={`${list}-${place}`} type="button" role="option" aria-selected={place === at} className="option" tabIndex={-1} onMouseDown={(event) => event.preventDefault()} onClick={() => take(place)}>
                <span className="mono">{one.label}</span>
                <span className="faint">{one.hint}</span>
              </button>
            ))}
          </div>
        ) : null}
      </div>
      {tokens(value).map((token) => (
        <span key={token.start} className={`chip ${token.negated ? "not" : ""}`}>
          {token.text.replace(/^-/, "")}
          {["since", "until", "cause", "request", "object", "owner", "field", ""].includes(token.key) ? null : (
            <button type="button" title={token.negated ? "Only this" : "All but this"} aria-label={`Invert ${token.text}`} onClick={() => apply(inverted(value, token))}>!</button>
          )}
          <button type="button" aria-label={`Remove ${token.text}`} onClick={() => apply(without(value, token))}>✕</button>
        </span>
      ))}
    </>
  );
}
