// The frame around every view: where one is in time, where one can go, and the keys that work everywhere.
import { lazy, Suspense, useEffect, useMemo, useState, type JSX } from "react";
import { gql } from "./api/graphql";
import { feed, useLive } from "./api/live";
import { dayTime, span, utc } from "./model/time";
import { learn, now } from "./state/clock";
import { goLive, useCursor } from "./state/cursor";
import { useData } from "./state/data";
import { press, useActions, type Action } from "./state/keys";
import { SPEEDS, usePlayback, type Speed } from "./state/playback";
import { go, set, to, useRoute } from "./state/route";
import { lookUp, signOut, useSession } from "./state/session";
import { Help } from "./ui/help";
import { Palette } from "./ui/palette";
import { Empty, Link, Skeleton } from "./ui/parts";
import { toast, Toasts } from "./ui/toast";
import { Brand } from "./views/brand";
import { SignIn } from "./views/signin";

const Timeline = lazy(() => import("./views/timeline"));
const Overview = lazy(() => import("./views/overview"));
const Browse = lazy(() => import("./views/browse"));
const ObjectView = lazy(() => import("./views/object"));
const Events = lazy(() => import("./views/events"));
const MapView = lazy(() => import("./views/map"));
const Audit = lazy(() => import("./views/audit"));
const Explorer = lazy(() => import("./views/explorer"));

const VIEWS: [string, string, string][] = [
  ["/", "Overview", "g h"], ["/t", "Timeline", "g t"], ["/b", "Objects", "g o"], ["/e", "Events", "g e"], ["/m", "Map", "g m"],
  ["/a", "Audit", "g a"], ["/q", "GraphQL", "g q"],
]; // prettier-ignore

// Those that have a heading of their own.
const HEADED = ["/"];

function View({ path }: { path: string }): JSX.Element {
  switch (path) {
    case "/":
      return <Overview />;
    case "/t":
      return <Timeline />;
    case "/b":
    case "/o":
      return <Browse />;
    case "/e":
      return <Events />;
    case "/m":
      return <MapView />;
    case "/a":
      return <Audit />;
    case "/q":
      return <Explorer />;
    default:
      return path.startsWith("/o/") ? <ObjectView /> : (
        <Empty title="There is no such page" actions={<Link className="button primary" href="/">Overview</Link>}>
          The address <code>{path}</code> leads nowhere here.
        </Empty>
      );
  }
}

export function App(): JSX.Element {
  const session = useSession();
  if (session.state === "unknown") return <Skeleton />;
  if (session.state === "out") return <SignIn />;
  if (session.state === "unreachable") {
    return (
      <Empty title="The server cannot be reached" actions={<button type="button" className="button primary" onClick={() => void lookUp()}>Try again</button>}>
        It may be starting, or gone. This page asks again by itself when you do.
      </Empty>
    );
  }
  return <Shell user={session.user} />;
}

interface Start {
  head: number;
  moment: { time: string | null };
  resources: { resource: string; kind: string; shortNames: string[] }[];
}

function Shell({ user }: { user: string }): JSX.Element {
  const { path, query } = useRoute();
  const live = useLive();
  const cursor = useCursor();
  const [open, setOpen] = useState<"palette" | "help" | null>(null);
  const start = useData<Start>("start", (signal) => gql<Start>('{ head moment(at: "now") { time } resources { resource kind shortNames } }', {}, signal).then((found) => {
    if (found.moment.time) learn(Date.parse(found.moment.time));
    return found;
  }));
  const playback = usePlayback(cursor, query.get("q") ?? "", live.head);
  const head = start.data?.head;
  useEffect(() => {
    if (head !== undefined) feed.start(head);
  }, [head]);
  useEffect(() => {
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
  useEffect(() => {
    document.title = `${VIEWS.find(([place]) => place === path)?.[1] ?? path.split("/").pop() ?? ""} · ksql`;
  }, [path]);

  const { playing, toggle, step } = playback;
  const everywhere: Action[] = useMemo(() => [
    ...VIEWS.map(([place, label, keys]) => ({ id: `go ${place}`, label: `Go to ${label}`, keys, run: () => go(to(place)), group: "Everywhere" })),
    { id: "filter", label: "Filter", keys: "/", run: () => document.getElementById("filter")?.focus(), group: "Everywhere" },
    { id: "palette", label: "Commands", keys: ":", run: () => setOpen("palette"), group: "Everywhere" },
    { id: "help", label: "All keys", keys: "?", run: () => setOpen("help"), group: "Everywhere" },
    { id: "live", label: cursor.live ? "Stop the cursor here" : "Back to LIVE", keys: "space", run: () => (cursor.live ? set({ at: live.head || null }) : goLive()), group: "Everywhere" },
    { id: "copy", label: "Copy a link that shows exactly this", keys: "c", run: () => copyLink(), group: "Everywhere" },
    { id: "play", label: playing ? "Pause" : "Play from the cursor", keys: "shift-p", run: toggle, disabled: cursor.live ? "put the cursor into the past first" : undefined, group: "Everywhere" },
    { id: "next", label: "Next event", keys: "n", run: () => step(1), group: "Everywhere" },
    { id: "previous", label: "Previous event", keys: "b", run: () => step(-1), group: "Everywhere" },
    { id: "signout", label: "Sign out", run: () => void signOut() },
  ], [cursor.live, live.head, playing, toggle, step]); // prettier-ignore
  useActions(everywhere);
  const kinds: Action[] = useMemo(
    () => (start.data?.resources ?? []).map((one) => ({ id: `kind ${one.resource}`, label: `${one.kind} — all ${one.resource}${one.shortNames.length ? ` (${one.shortNames.join(", ")})` : ""}`, run: () => go(to("/b", { kind: one.resource })) })),
    [start.data],
  );

  return (
    <div className={`shell ${cursor.live ? "" : "past"}`}>
      <header>
        <a className="skip" href="#main">Skip to the content</a>
        <div className="top">
          <Link className="brand" href={to("/")} aria-label="ksql, overview"><Brand /><span>ksql</span></Link>
          <nav className="nav" aria-label="Views">
            {VIEWS.slice(1).map(([place, label, keys]) => (
              <Link key={place} href={to(place)} aria-current={path === place || (place === "/b" && path.startsWith("/o")) ? "page" : undefined} title={`${label} (${keys})`}>{label}</Link>
            ))}
          </nav>
          <span className="grow" />
          <div className="transport" role="group" aria-label="Playback">
            <button type="button" title="Previous event (b)" aria-label="Previous event" onClick={() => playback.step(-1)}><Icon path="M3 3v10M13 3 6 8l7 5z" /></button>
            <button type="button" title={cursor.live ? "Put the cursor into the past to play from there" : "Play (shift-p)"} aria-label={playback.playing ? "Pause" : "Play"} aria-pressed={playback.playing} disabled={cursor.live} onClick={playback.toggle}><Icon path={playback.playing ? "M5 3v10M11 3v10" : "M4 2.5 13 8l-9 5.5z"} /></button>
            <button type="button" title="Next event (n)" aria-label="Next event" disabled={cursor.live} onClick={() => playback.step(1)}><Icon path="M13 3v10M3 3l7 5-7 5z" /></button>
            <select aria-label="Speed" value={playback.speed} onChange={(changed) => playback.setSpeed(changed.target.value as Speed)}>
              {SPEEDS.map((one) => <option key={one} value={one}>{one === "event" ? "by event" : `${one}×`}</option>)}
            </select>
          </div>
          <CursorButton cursor={cursor} live={live} />
          <button type="button" className="button quiet" title="Commands (:)" aria-label="Commands" onClick={() => setOpen("palette")}><Icon path="M2 4h12M2 8h8M2 12h5" /></button>
          <button type="button" className="button quiet" title="All keys (?)" aria-label="All keys" onClick={() => setOpen("help")}>?</button>
          <span className="faint ellipsis" style={{ maxWidth: 140 }} title={`You are ${user}`}>{user}</span>
        </div>
      </header>
      <div>
        {live.connection === "lost" ? (
          <div className="banner" role="status">
            <span className="grow">The connection is lost{live.since ? ` since ${dayTime(live.since)}` : ""}. What you see was true at r{live.head}; it goes on from there without a gap.</span>
            <button type="button" className="button small" onClick={() => feed.retry()}>Try now</button>
          </div>
        ) : null}
        {cursor.fault ? (
          <div className="banner" role="status">
            <span className="grow">{cursor.code === "HORIZON" ? "Older than the log keeps: " : ""}{cursor.fault}</span>
            <button type="button" className="button small" onClick={goLive}>Back to LIVE</button>
          </div>
        ) : null}
      </div>
      <main id="main" tabIndex={-1}>
        {HEADED.includes(path) || path.startsWith("/o/") ? null : <h1 className="visually-hidden">{VIEWS.find(([place]) => place === path)?.[1] ?? "Not found"}</h1>}
        {start.data || start.fault ? <Suspense fallback={<Skeleton />}><View path={path} /></Suspense> : <Skeleton />}
      </main>
      <Toasts />
      {open === "palette" ? <Palette close={() => setOpen(null)} extra={kinds} /> : null}
      {open === "help" ? <Help close={() => setOpen(null)} /> : null}
    </div>
  );
}

function Icon({ path }: { path: string }): JSX.Element {
  return (
    <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" fill="currentColor" stroke="currentColor" strokeWidth="1.6" strokeLinejoin="round" strokeLinecap="round"><path d={path} /></svg>
  );
}

function CursorButton({ cursor, live }: { cursor: ReturnType<typeof useCursor>; live: ReturnType<typeof useLive> }): JSX.Element {
  const lost = live.connection === "lost";
  if (cursor.live) {
    return (
      <button type="button" className={`cursor ${lost ? "lost" : ""}`} title="Stop the cursor here (space)" onClick={() => set({ at: live.head || null })}>
        <span className="dot" aria-hidden="true" />
        {lost ? "DISCONNECTED" : "LIVE"}<span className="visually-hidden"> at revision </span> <span className="rev">r{live.head}</span>
        {live.lag && !lost ? <span className="faint num">{span(live.lag)}</span> : null}
      </button>
    );
  }
  return (
    <button type="button" className="cursor past" title={`${cursor.time ? `${utc(cursor.time)} · ` : ""}Back to LIVE (space)`} onClick={goLive}>
      AT {cursor.time ? dayTime(cursor.time) : ""} {cursor.revision ? <span className="rev">r{cursor.revision}</span> : null}
      <span className="faint">→<span className="visually-hidden"> back to</span> LIVE</span>
    </button>
  );
}

/** The address as it is, with what is relative made absolute: it shows the same tomorrow. */
export function frozen(address: string, now: number, head: number): string {
  const url = new URL(address);
  for (const [key, value] of [...url.searchParams]) {
    const relative = /^now(?:-(.+))?$/.exec(value);
    if ((key === "from" || key === "to") && relative) {
      const ago = (relative[1]?.match(/\d+[smhdw]/g) ?? []).reduce((sum, part) => sum + parseInt(part, 10) * ({ s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }[part.slice(-1)] ?? 0) * 1000, 0);
      url.searchParams.set(key, new Date(now - ago).toISOString());
    }
  }
  if (url.pathname === "/t") {
    if (!url.searchParams.has("from")) url.searchParams.set("from", new Date(now - 3_600_000).toISOString());
    if (!url.searchParams.has("to")) url.searchParams.set("to", new Date(now).toISOString());
  }
  if (!url.searchParams.has("at") && head) url.searchParams.set("at", String(head));
  return url.href;
}

function copyLink(): void {
  const link = frozen(window.location.href, now(), feed.snapshot().head);
  navigator.clipboard.writeText(link).then(() => toast("Link copied: it shows exactly this, also tomorrow"), () => toast("The browser did not let the link be copied", { bad: true }));
}
