// Small parts: who wrote, a revision, a time, a state, and the honest screens for what is not there.
import type { JSX, ReactNode } from "react";
import type { Fault } from "../api/http";
import type { StateName } from "../api/timeline";
import { isPerson, type Who } from "../model/events";
import { clockTime, dayTime, span, utc } from "../model/time";
import { moveTo } from "../state/cursor";
import { addressOf, go, routeOf, to } from "../state/route";

/** A link within the window: followed without loading, opened elsewhere as any link. */
export function Link({ href, children, ...rest }: { href: string; children: ReactNode } & Omit<JSX.IntrinsicElements["a"], "href">): JSX.Element {
  return (
    <a
      {...rest}
      href={href}
      onClick={(event) => {
        rest.onClick?.(event);
        if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        go(href);
      }}
    >
      {children}
    </a>
  );
}

export function Actor({ who }: { who: Who }): JSX.Element {
  const person = isPerson(who.kind);
  return (
    <span className={`who ${person ? "person" : ""}`} title={who.user ?? who.name}>
      <span className="glyph" aria-hidden="true" />
      <span className="ellipsis">{who.name}</span>
    </span>
  );
}

export function Rev({ revision, time }: { revision: number; time?: number | string }): JSX.Element {
  const at = time === undefined ? undefined : typeof time === "string" ? Date.parse(time) : time;
  return (
    <button type="button" className="button quiet small rev" title={`See everything as of r${revision}`} onClick={() => moveTo(revision, at)}>
      r{revision}
    </button>
  );
}

export function Time({ time }: { time: string | number }): JSX.Element {
  const iso = new Date(time).toISOString();
  return (
    <time dateTime={iso} title={utc(time)}>
      {dayTime(time)}
    </time>
  );
}

export function Age({ time, now }: { time: string | number; now: number }): JSX.Element {
  const then = typeof time === "string" ? Date.parse(time) : time;
  return (
    <span className="num" title={`${clockTime(then)} · ${utc(then)}`}>
      {span(now - then)}
    </span>
  );
}

export const STATE_WORDS: Record<StateName, string> = {
  running: "running", progressing: "on the way", waiting: "waiting", failed: "failing", ended: "ended", unknown: "unknown", present: "present",
}; // prettier-ignore

// The sign says what the colour says.
export const STATE_SIGNS: Record<StateName, string> = {
  running: "", progressing: "…", waiting: "⋯", failed: "✕", ended: "–", unknown: "?", present: "",
}; // prettier-ignore

export function StateBadge({ state, text }: { state: StateName; text?: string }): JSX.Element {
  return (
    <span className="badge">
      <span className={`pod ${state}`} style={{ width: 14, height: 14, fontSize: 9, borderRadius: 4, cursor: "inherit" }} aria-hidden="true">
        {STATE_SIGNS[state]}
      </span>
      {text || STATE_WORDS[state]}
    </span>
  );
}

export function Skeleton({ lines = 6 }: { lines?: number }): JSX.Element {
  return (
    <div className="stack" role="status" aria-label="loading" style={{ padding: 16 }}>
      {Array.from({ length: lines }, (_, place) => (
        <div key={place} className="skeleton" style={{ width: `${92 - ((place * 37) % 50)}%` }} />
      ))}
    </div>
  );
}

export function Empty({ title, children, actions }: { title: string; children?: ReactNode; actions?: ReactNode }): JSX.Element {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children ? <div className="soft">{children}</div> : null}
      {actions ? <div className="actions">{actions}</div> : null}
    </div>
  );
}

/** What went wrong, in the server's words, with a way on. */
export function FaultScreen({ fault, again }: { fault: Fault; again: () => void }): JSX.Element {
  const route = routeOf(window.location.pathname + window.location.search);
  const live = (
    <button type="button" className="button" onClick={() => go(addressOf(route.path, route.query, { at: null, from: null, to: null }))}>
      Go to now
    </button>
  );
  const retry = (
    <button type="button" className="button primary" onClick={again}>
      Try again
    </button>
  );
  switch (fault.code) {
    case "FORBIDDEN":
      return (
        <Empty title="You may not see this" actions={<Link className="button" href={to("/")}>Overview</Link>}>
          {fault.message}
        </Empty>
      );
    case "HORIZON":
      return (
        <Empty title="Older than the log keeps" actions={live}>
          {fault.message}
        </Empty>
      );
    case "NOT_FOUND":
      return (
        <Empty title="There is no such thing here" actions={<>{route.query.get("at") ? live : null}<Link className="button" href={to("/t")}>Timeline</Link></>}>
          {fault.message}
        </Empty>
      );
    case "BAD_USER_INPUT":
      return (
        <Empty title="That cannot be asked so" actions={<>{route.query.get("q") ? <button type="button" className="button" onClick={() => go(addressOf(route.path, route.query, { q: null }))}>Clear the filter</button> : live}</>}>
          {fault.message}
        </Empty>
      );
    case "OFFLINE":
      return (
        <Empty title="The server cannot be reached" actions={retry}>
          Nothing is lost: as soon as it answers, this page goes on from where it was.
        </Empty>
      );
    default:
      return (
        <Empty title="The server could not answer" actions={retry}>
          {fault.message}
        </Empty>
      );
  }
}
